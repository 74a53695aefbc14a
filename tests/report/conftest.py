from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings
from made_up_suite import MadeUp, make_suite

# What is tested is arithmetic, not speed; on a busy machine a first call may take long.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def suite() -> MadeUp:
    return make_suite()


@pytest.fixture(scope="session")
def frames() -> Callable[[str], np.ndarray]:
    def load(episode: str) -> np.ndarray:
        film = np.full((6, 16, 16, 3), 80, np.uint8)
        for t in range(6):
            film[t, 4:8, 2 * t : 2 * t + 3] = 250
        return film

    return load
