"""A game inside a learned world model, played with keyboard and mouse."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from real2sim.envs.scalar_env import LaneEnv
from real2sim.envs.world_model_env import WorldModelEnv
from real2sim.vid2world.released.robots import BUTTONS, KEYS, MOUSE_X, MOUSE_Y, csgo_robot

PARTS = (("keys", len(KEYS)), ("buttons", len(BUTTONS)), ("mouse_x", len(MOUSE_X)), ("mouse_y", len(MOUSE_Y)))


class KeyboardMouseEnv(gymnasium.Env):  # type: ignore[type-arg]
    """Vid2World's CS:GO model, or another one of the same 51 zeros and ones, as a game (``-v0``).

    *Observation*: the screen, uint8 (150, 280, 3).

    *Action*: a dictionary. ``keys``: MultiBinary(11), which of w a s d space ctrl shift 1 2 3 r are held; ``buttons``:
    MultiBinary(2), left and right of the mouse; ``mouse_x``: Discrete(23) and ``mouse_y``: Discrete(15), the place of
    the mouse's movement among `MOUSE_X` and `MOUSE_Y` (pixels; 11 and 7 stand still).

    *End*: ``truncated`` at the task's horizon; the game has no success, so the reward is 0 unless a judge is given.

    *Arguments* as of `real2sim.envs.world_model_env.WorldModelEnv`; ``suite`` and ``world_model`` must be given, since
    no game is shipped.  The suite's starts may hold the frames before them: published runs begin with four.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 16}  # noqa: RUF012 - Gymnasium's convention

    def __init__(self, suite: str, world_model: str, judge: str | None = None, **options: Any) -> None:
        self._env: LaneEnv = WorldModelEnv(suite, world_model=world_model, judge=judge, **options)
        robot = self._env.robot
        if robot.action_names != csgo_robot().action_names:
            raise ValueError(
                f"suite {suite!r} is of robot {robot.name!r} with {robot.action_width} action numbers; expected the 51 "
                "of keyboard and mouse (real2sim.vid2world.released.robots.csgo_robot) in its robot.json"
            )
        self.render_mode = self._env.render_mode
        self.metadata = {**self.metadata, "render_fps": self._env.metadata["render_fps"]}
        self.observation_space = self._env.observation_space
        self.action_space = spaces.Dict(
            {
                "keys": spaces.MultiBinary(len(KEYS)),
                "buttons": spaces.MultiBinary(len(BUTTONS)),
                "mouse_x": spaces.Discrete(len(MOUSE_X)),
                "mouse_y": spaces.Discrete(len(MOUSE_Y)),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """First screen uint8 (h w 3), and the episode that begins."""
        super().reset(seed=seed)
        observation, info = self._env.reset(seed=seed, options=options)
        return observation, info

    def step(self, action: dict[str, Any]) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Next screen, reward, terminated, truncated and info, for an action of the space."""
        if not self.action_space.contains(action):
            raise ValueError(f"the action {action!r} is not in {self.action_space}")
        return self._env.step(to_numbers(action))

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The screen, uint8 (h w 3)."""
        return self._env.render()

    def close(self) -> None:
        """Free what the world holds."""
        self._env.close()


def to_numbers(action: dict[str, Any]) -> np.ndarray:
    """The 51 zeros and ones, float32 (51,), of an action of `KeyboardMouseEnv`."""
    parts = [np.asarray(action[name], np.float32) for name in ("keys", "buttons")]
    parts += [np.eye(size, dtype=np.float32)[action[name]] for name, size in PARTS[2:]]
    return np.concatenate(parts).astype(np.float32)
