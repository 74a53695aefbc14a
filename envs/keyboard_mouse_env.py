"""A game inside a learned world model, played with keyboard and mouse."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from real2sim.envs.arguments import check_arguments
from real2sim.envs.world_model_env import WorldModelEnv, WorldModelVectorEnv
from real2sim.vid2world.released.robots import BUTTONS, KEYS, MOUSE_X, MOUSE_Y, csgo_robot

PARTS = (("keys", len(KEYS)), ("buttons", len(BUTTONS)), ("mouse_x", len(MOUSE_X)), ("mouse_y", len(MOUSE_Y)))


class KeyboardMouseEnv(WorldModelEnv):
    """Vid2World's CS:GO model, or another one of the same 51 zeros and ones, as a game (``-v0``).

    *Observation*: the screen, uint8 (150, 280, 3).

    *Action*: a dictionary. ``keys``: MultiBinary(11), which of w a s d space ctrl shift 1 2 3 r are held; ``buttons``:
    MultiBinary(2), left and right of the mouse; ``mouse_x``: Discrete(23) and ``mouse_y``: Discrete(15), the place of
    the mouse's movement among `MOUSE_X` and `MOUSE_Y` (pixels; 11 and 7 stand still).

    *End*: ``truncated`` at the task's horizon; the game has no success, so the reward is 0 unless a judge is given.

    *Arguments* as of `real2sim.envs.world_model_env.WorldModelEnv`; ``suite`` and ``world_model`` must be given, since
    no game is shipped.  The suite's starts may hold the frames before them: published runs begin with four.
    """

    def __init__(
        self,
        suite: str | None = None,
        world_model: str | None = None,
        judge: str | None = None,
        **options: Any,
    ) -> None:
        check_arguments(options, WorldModelVectorEnv, type(self))
        if suite is None or world_model is None:
            missing = " and ".join(
                name for name, value in (("suite", suite), ("world_model", world_model)) if value is None
            )
            raise ValueError(
                f"no game is shipped, and {missing} is not given; name the folder of a suite of start frames as suite "
                "and that of a converted model as world_model"
            )
        super().__init__(suite, world_model=world_model, judge=judge, **options)
        if self.robot.action_names != csgo_robot().action_names:
            raise ValueError(
                f"suite {suite!r} is of robot {self.robot.name!r} with {self.robot.action_width} action numbers; "
                "expected the 51 of keyboard and mouse (real2sim.vid2world.released.robots.csgo_robot) in its "
                "robot.json"
            )
        self.action_space = spaces.Dict(
            {
                "keys": spaces.MultiBinary(len(KEYS)),
                "buttons": spaces.MultiBinary(len(BUTTONS)),
                "mouse_x": spaces.Discrete(len(MOUSE_X)),
                "mouse_y": spaces.Discrete(len(MOUSE_Y)),
            }
        )

    def step(self, action: dict[str, Any]) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Next screen, reward, terminated, truncated and info, for an action of the space."""
        if not self.action_space.contains(action):
            raise ValueError(f"the action {action!r} is not in {self.action_space}")
        return super().step(to_numbers(action))


def to_numbers(action: dict[str, Any]) -> np.ndarray:
    """The 51 zeros and ones, float32 (51,), of an action of `KeyboardMouseEnv`."""
    parts = [np.asarray(action[name], np.float32) for name in ("keys", "buttons")]
    parts += [np.eye(size, dtype=np.float32)[action[name]] for name, size in PARTS[2:]]
    return np.concatenate(parts).astype(np.float32)
