"""Learned world models as Gymnasium environments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from real2sim.checks import as_path, check_device
from real2sim.envs.arguments import check_arguments
from real2sim.envs.lane_env import LaneVectorEnv
from real2sim.envs.scalar_env import LaneEnv
from real2sim.envs.verdicts import Reward
from real2sim.simulation.contracts import Judge
from real2sim.simulation.judged import check_judge_object
from real2sim.simulation.suite import Suite, load_suite
from real2sim.vid2world.load import MODEL, SamplingOverrides
from real2sim.worlds import open_world

JUDGE = "judge"


class WorldModelVectorEnv(LaneVectorEnv):
    """Many lanes of `WorldModelEnv`, drawn by the world model as one batch.

    Arguments, spaces, rewards and endings are those of `WorldModelEnv`, with a first dimension for the lanes;
    options and the behaviour of ended lanes are those of `LaneVectorEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        suite: str = "drawer",
        task: str | None = None,
        world_model: str | Path = MODEL,
        judge: str | Path | Judge | None = JUDGE,
        device: str = "cpu",
        render_mode: str | None = None,
        sampling: SamplingOverrides | None = None,
        normalized_actions: bool = False,
        max_episode_steps: int | None = None,
        horizon: int | None = None,
        reward: Reward = "success",
        terminate: bool = True,
    ) -> None:
        check_device(device)
        if not isinstance(sampling, SamplingOverrides | None):
            raise ValueError(
                f"sampling is {sampling!r}, expected a real2sim.SamplingOverrides, such as SamplingOverrides(steps=2), "
                "or None"
            )
        if reward == "progress" and judge is None:
            raise ValueError("reward='progress' is the judge's; give a judge, or leave reward out")
        found = load_suite(suite)
        super().__init__(
            open_world(str(as_path("a world model", world_model)), found, device, sampling),
            found,
            num_envs,
            task,
            find_judge(judge, found, device),
            render_mode,
            normalized_actions,
            max_episode_steps,
            horizon,
            reward,
            terminate,
        )


class WorldModelEnv(LaneEnv):
    """A task of a suite inside a learned world model (``-v0``).

    *Observation*: for a robot with one camera and no state the camera's frame, uint8 (h, w, 3); 64 x 64 in the drawer
    suite.  Else a dictionary, ``pixels`` with a frame by camera, and ``agent_pos``, float32 (m,), for a robot with a
    state.

    *Action*: float32 (n,), the action numbers of the suite's robot (``robot.json``, ``docs/robot.md``) in their units,
    or (K, n) where the robot takes K actions per frame.  A value outside the space or NaN is an error.  With
    ``normalized_actions`` each number lies between -1 (its lower bound) and 1 (its upper one).

    The drawer robot has 13 numbers, the fields of RT-1 in alphabetical order (`real2sim.actions`,
    ``docs/actions.md``): base displacement in metres [0:2], base rotation in radians [2], gripper [3] (-1
    open, +1 closed), hand rotation in radians [4:7], terminate_episode [7:10] (terminate, move arm, move
    base), hand displacement in metres [10:13]. It obeys the gripper, terminate_episode, and hand displacements of up
    to 0.06 m per axis and step; the other fields are ignored.  One step lasts 1/3 s.

    *End*: ``terminated`` when the action asks to end the episode (after the step has been drawn), if the robot's can;
    for RT-1 when the largest of terminate_episode's three numbers is the first one and above 0, which uniform random
    actions do in a third of all steps; with ``terminate=False`` no action does.  ``truncated`` at the task's horizon
    (20 steps in the drawer suite), or after ``horizon`` or ``max_episode_steps`` of `gymnasium.make`; either way the
    episode is judged.

    *Reward*: 0 until the episode ends, then 1 if the judge calls the episode a success, else 0; with
    ``reward="progress"`` the change of its probability of success by each step (`real2sim.envs.verdicts.Verdicts`).
    The last ``info`` holds ``success``, ``is_success`` (the same) and ``success_probability``.  Every ``info`` of a
    step holds ``is_success``, which is False before the end, and every ``info`` ``instruction``, ``task``, ``start``,
    ``episode_seed`` and ``steps``.

    *Reset options*: ``task``, ``start`` (id of a start frame) and ``episode_seed`` (source of the world's
    noise).  What is not given is drawn from the environment's seed.  The same seed, options and actions give
    the same frames.

    *Arguments*: ``suite`` (shipped name or folder), ``task`` (None: any task of the suite), ``world_model``
    (the suite's own, or a folder), ``judge`` (the suite's own, a folder, anything that judges as
    `real2sim.simulation.contracts.Judge` says, or None for no verdict and no reward), ``device``, ``render_mode``
    (None or "rgb_array"), ``sampling`` (a `real2sim.SamplingOverrides`: steps, number format, compilation, where the
    model is not to draw as its folder says), ``normalized_actions``, ``horizon``, ``reward``, ``terminate``.
    """

    def __init__(
        self,
        suite: str = "drawer",
        task: str | None = None,
        world_model: str | Path = MODEL,
        judge: str | Path | Judge | None = JUDGE,
        **more: Any,
    ) -> None:
        check_arguments(more, WorldModelVectorEnv, type(self))
        super().__init__(WorldModelVectorEnv(1, suite, task, world_model, judge, **more))


def find_judge(judge: str | Path | Judge | None, suite: Suite, device: str = "cpu") -> Judge | None:
    """The judge that an argument stands for: ``"judge"`` is the suite's own, other names are opened."""
    if judge is None:
        return None
    if not isinstance(judge, str | Path):
        return check_judge_object(judge)
    from real2sim.success.judge import open_judge

    if judge != JUDGE:
        return open_judge(Path(judge).expanduser() if Path(judge).expanduser().exists() else judge, device)
    folder = suite.folder / JUDGE
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no judge in {folder}; train one with `real2sim train classifier`, or "
            "pass judge=None for no reward"
        )
    return open_judge(folder, device)
