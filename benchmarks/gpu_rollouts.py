"""Parts of benchmarks/gpu_check.py that draw frames with the shipped world models and policies."""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_options import Options, allow_tf32, wait
from real2sim.simulation.suite import Suite, load_suite
from real2sim.vid2world.load import MODEL, SamplingOverrides, load_model
from real2sim.worlds import ModelWorld, model_folder

SUITES = ("drawer", "so101")
POLICIES = {"drawer": ("converged", "chunks", "mixture"), "so101": ("act", "recurrent", "rt1")}
LANES = (1, 8, 25, 100, 256, 1024)


class Begins:
    """States of a world model at a suite's starts, for any number of lanes."""

    def __init__(self, suite: Suite, model: Any) -> None:
        self.suite, self._world = suite, ModelWorld(model, suite.robot)
        self._starts = suite.starts(suite.tasks[0].name)

    def begun(self, lanes: int) -> Any:
        """A state; starts repeat where the suite has fewer."""
        starts = [self._starts[lane % len(self._starts)] for lane in range(lanes)]
        return self._world.reset(starts, list(range(lanes)))


def shipped(suite: str, device: str, precision: str | None = None) -> tuple[Any, Begins]:
    """The world model of a shipped suite, and what begins its episodes."""
    found = load_suite(suite)
    sampling = SamplingOverrides(precision=precision)  # type: ignore[arg-type]
    model = load_model(model_folder(MODEL, found), device, sampling)
    return model, Begins(found, model)


def recorded_commands(suite: Suite, lanes: int) -> np.ndarray:
    """Recorded commands (lanes t K n) of the starts that `Begins` begins with."""
    # Random targets jump over the whole range, which a prediction of states never saw: a change of one in a million
    # turns the SO-101's joints by a hundred degrees within 20 frames, on one device.
    recordings = next(iter(suite.replays(suite.tasks[0].name).values()))
    return suite.robot.per_frame(recordings[np.arange(lanes) % len(recordings)])


def driven(model: Any, world: Begins, commands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (t lanes h w 3) and robot states (t lanes n) that commands (lanes t K n) lead to."""
    state, frames, rows = world.begun(len(commands)), [], []
    for step in range(commands.shape[1]):
        frame, state = model.step(state, world.suite.robot.world_actions(commands[:, step]))
        frames.append(frame.astype(int))
        rows.append(model.robot_state(state))
    return np.stack(frames), np.stack(rows)


def parity(options: Options) -> dict[str, Any]:
    """Frames and states of both shipped world models on both devices, then rollouts and verdicts."""
    allow_tf32(False)
    found: dict[str, Any] = {}
    for suite in SUITES:
        drawn = {}
        for device in ("cpu", options.device):
            model, world = shipped(suite, device)
            commands = recorded_commands(world.suite, 8)[:, : 4 if options.quick else 20]
            drawn[device] = driven(model, world, commands)
        here, there = drawn["cpu"], drawn[options.device]
        pixels, states = np.abs(here[0] - there[0]), np.abs(here[1] - there[1])
        found[suite] = {
            "pixel_max": int(pixels.max()),
            "pixel_mean": float(pixels.mean()),
            "pixels_differing": float((pixels > 0).mean()),
            "state_max": float(states.max()),
        }
        found[suite] |= _verdicts(suite, options)
        print(suite, found[suite], flush=True)
    worst = max(found[suite]["pixel_max"] for suite in SUITES)
    same = "; ".join(f"{suite} {found[suite]['same']} of {found[suite]['episodes']}" for suite in SUITES)
    line = f"pixels differ by at most {worst} of 255; same verdicts: {same}"
    different = [suite for suite in SUITES if found[suite]["same"] < found[suite]["episodes"]]
    return {**found, "line": line, "failed": f"verdicts differ: {different}" if different else None}


def _verdicts(suite: str, options: Options) -> dict[str, Any]:
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, device in enumerate(("cpu", options.device)):
            out = Path(folder) / str(number)
            tables[device] = _rolled(suite, out, device, POLICIES[suite][:2], 2 if options.quick else 6)[0]
    here, there = (tables[device]["success"].tolist() for device in ("cpu", options.device))
    return {"episodes": len(here), "same": sum(a == b for a, b in zip(here, there, strict=True))}


def _rolled(suite: str, out: Path, device: str, policies: tuple[str, ...], starts: int) -> tuple[Any, Any]:
    """The scored table of a rollout, and the seconds of rollout and judge."""
    from real2sim.episodes.run_folder import load_run
    from real2sim.evaluation.rollout_config import RolloutConfig
    from real2sim.evaluation.run import rollout
    from real2sim.evaluation.score_runs import ScoreConfig, score_runs

    config = RolloutConfig(
        out,
        policies,
        suite,
        starts=starts,
        lanes=100,
        device=device,
        processes=1,
        consistency=False,
        threads=4,
    )
    began = time.perf_counter()
    rollout(config, progress=False)
    drawn = time.perf_counter()
    score_runs(ScoreConfig((out,), device=device))
    table = load_run(out).sort_values("episode")
    return table, (drawn - began, time.perf_counter() - drawn)


def speed(options: Options) -> dict[str, Any]:
    """Frames per second by lanes: plain, recorded as CUDA graphs, in bfloat16; and of policies."""
    import torch

    rows = []
    ways: tuple[tuple[str, bool, str | None], ...] = (
        ("plain", False, None),
        ("graph", True, None),
        ("graph, TF32", True, None),
        ("graph, bfloat16", True, "bfloat16"),
    )
    for suite in SUITES:
        for way, recorded, precision in ways:
            model, world = shipped(suite, options.device, precision)
            model.recorded.enabled = recorded
            allow_tf32("TF32" in way)
            for lanes in (1, 2) if options.quick else LANES:
                if options.cuda:
                    torch.cuda.reset_peak_memory_stats()
                state, robot = world.begun(lanes), world.suite.robot
                still = np.zeros((lanes, robot.actions_per_frame, robot.action_width), np.float32)
                given = robot.world_actions(still)
                for _ in range(4):
                    _, state = model.step(state, given)
                wait(options)
                steps, began = 3 if options.quick else 20, time.perf_counter()
                for _ in range(steps):
                    _, state = model.step(state, given)
                    model.robot_state(state)
                each = (time.perf_counter() - began) / steps
                memory = torch.cuda.max_memory_allocated() / 1e6 if options.cuda else 0.0
                rows.append(
                    {"suite": suite, "way": way, "lanes": lanes, "ms": round(1000 * each, 2),
                     "frames_per_s": round(lanes / each, 1), "MB": round(memory),
                     "recorded": model.recorded.enabled and bool(model.recorded._recorded)}
                )  # fmt: skip
                print(*rows[-1].values(), sep="\t", flush=True)
            del model, world, state
            gc.collect()
        rows += _policy_rows(suite, options)
    best = {
        suite: max((row["frames_per_s"], row["way"], row["lanes"]) for row in rows if row["suite"] == suite)
        for suite in SUITES
    }
    return {"rows": rows, "line": f"best {best}"}


def _policy_rows(suite: str, options: Options) -> list[dict[str, Any]]:
    """Milliseconds per step of 100 lanes of shipped policies, plain and recorded."""
    from real2sim.policies.places import policy_at
    from real2sim.simulation.observation import observe

    found, whole = load_suite(suite), 3 if options.quick else 100
    task = found.tasks[0]
    starts = found.starts(task.name)
    frames = np.stack([starts[lane % len(starts)].frame for lane in range(whole)])
    state = np.zeros((whole, len(found.robot.state)), np.float32)
    rows = []
    for name in POLICIES[suite]:
        for way, recorded in (("plain", False), ("graph", True)):
            place = str(found.folder / "policies" / name)
            policy: Any = policy_at(place, found.robot, suite, options.device)
            for calls in ("_looks", "_plans", "_acts", "_decides"):
                if hasattr(policy, calls):
                    getattr(policy, calls).enabled = recorded
            policy.reset([task.instruction] * whole)
            given = state if found.robot.state_from is not None else None
            seen = observe(found.robot, frames, [task.instruction] * whole, given)
            times = []
            for _ in range(16):
                began = time.perf_counter()
                policy.act(seen)
                times.append(time.perf_counter() - began)
            row = {"suite": suite, "way": f"policy {name}, {way}", "lanes": whole,
                   "ms": round(1000 * float(np.mean(times[8:])), 2), "frames_per_s": 0.0}  # fmt: skip
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    return rows


def whole(options: Options) -> dict[str, Any]:
    """``rollout`` and ``score`` of shipped policies from end to end, where the time goes, and the command itself."""
    from real2sim.episodes.run_folder import RowWriter

    spent: dict[str, float] = {}

    def timed(owner: type, name: str, label: str) -> None:
        plain = getattr(owner, name)

        def call(*given: Any, **options_: Any) -> Any:
            began = time.perf_counter()
            try:
                return plain(*given, **options_)
            finally:
                spent[label] = spent.get(label, 0.0) + time.perf_counter() - began

        setattr(owner, name, call)

    from real2sim.policies.imitation.policy import ImitationPolicy
    from real2sim.policies.rt1.policy import RT1Policy

    timed(ModelWorld, "step", "world model")
    timed(ModelWorld, "reset", "start frames")
    timed(RowWriter, "write", "writing")
    timed(ImitationPolicy, "act", "policies")
    timed(RT1Policy, "act", "policies")
    found: dict[str, Any] = {}
    starts = 2 if options.quick else 50
    with tempfile.TemporaryDirectory() as folder:
        for suite in SUITES:
            spent.clear()
            out = Path(folder) / suite
            table, (drawing, judging) = _rolled(suite, out, options.device, POLICIES[suite], starts)
            frames = int(table["steps"].sum())
            found[suite] = {
                "episodes": len(table), "frames": frames, "rollout_s": round(drawing, 2),
                "frames_per_s": round(frames / drawing, 1), "score_s": round(judging, 2),
                "spent": {name: round(seconds, 2) for name, seconds in spent.items()},
            }  # fmt: skip
            print(suite, found[suite], flush=True)
        words = [sys.executable, "-m", "real2sim", "rollout", "--suite", "drawer", "--out", f"{folder}/cli"]
        words += ["--policies", *POLICIES["drawer"], "--starts", str(starts), "--lanes", "100"]
        words += ["--device", options.device]
        began = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        found["command_s"] = round(time.perf_counter() - began, 2)
    line = ", ".join(f"{suite} {found[suite]['frames_per_s']} frames/s" for suite in SUITES)
    failed = None if done.returncode == 0 else (done.stderr or "?")[-2000:]
    return {**found, "line": f"{line}; the command {found['command_s']} s", "failed": failed}
