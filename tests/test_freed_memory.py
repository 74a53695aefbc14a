"""What a process does with freed memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
FAULTS = """
import resource
import torch
from real2sim.freed_memory import keep_freed_memory
print(keep_freed_memory())
def use():
    del [torch.ones(16 << 20, dtype=torch.uint8) for _ in range(4)][:]
for _ in range(5):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**settings: str) -> list[str]:
    """What the program above prints, with settings of the environment."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment = others | {"OMP_NUM_THREADS": "1"} | settings
    result = subprocess.run(
        [sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.split()


@GLIBC
@pytest.mark.slow
def test_a_freed_block_is_used_again_without_a_page_fault() -> None:
    kept, faults = run()
    assert kept == "True"
    assert int(faults) < 500


@GLIBC
@pytest.mark.slow
def test_settings_of_the_environment_have_the_last_word() -> None:
    kept, faults = run(MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
    # Ten times four blocks of 4,096 pages.
    assert int(faults) > 100_000
