"""How fast frames are drawn: throughput and latency for several numbers of lanes, and ratios of two ways to draw.

    python -m benchmarks.rollout                                  # the built-in suite, one thread
    python -m benchmarks.rollout --compare windowed --steps 10    # a cache against passes over the whole window
    python -m benchmarks.rollout --compare windowed --steps 10 --lanes 1 --frame-size 256
    python -m benchmarks.rollout --world FOLDER --device cuda --precision bfloat16

The table is for one process that draws and does nothing else; a rollout also acts, writes and judges.  A comparison
takes both ways in turns, in one process and from the same state, and prints the ratio of their times: on a busy
machine a ratio means something where seconds do not.  With ``--frame-size`` the same weights draw frames of that size:
what they look like is not asked, what they cost is.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.windowed import Windowed
from real2sim.files import write_text
from real2sim.simulation.suite import Suite, load_suite
from real2sim.vid2world.load import MODEL, SamplingOverrides, load_model
from real2sim.vid2world.world_model import WorldModel
from real2sim.worlds import ModelWorld, model_folder

HISTORY = 10
"""Past frames in a comparison, and frames drawn before anything is timed."""
EPISODES = 100


@dataclass(frozen=True)
class Timing:
    """Steps of some lanes, timed one by one."""

    lanes: int
    wall: np.ndarray
    """Seconds of the clock per step (n)."""
    cpu: np.ndarray
    """Seconds of the processor per step (n), of all threads."""
    passes: int
    """Network passes over one frame per lane and step."""
    memory: float
    """Peak memory so far, MB: of the GPU, or of the whole process."""

    def row(self, horizon: int) -> list[str]:
        """One line of the table."""
        total = self.lanes / self.wall.mean()
        p50, p95 = 1000 * np.percentile(self.wall, (50, 95))
        return [
            f"{self.lanes}",
            f"{total / self.lanes:.2f}",
            f"{total:.1f}",
            f"{total * self.passes:.1f}",
            f"{EPISODES * horizon / total:.0f}",
            f"{p50:.0f}",
            f"{p95:.0f}",
            f"{1000 * self.cpu.mean() / self.lanes:.1f}",
            f"{self.memory:.0f}",
        ]


HEADER = (
    "lanes",
    "frames/s per lane",
    "frames/s",
    "frame passes/s",
    f"s per {EPISODES} episodes",
    "p50 ms",
    "p95 ms",
    "CPU ms per frame",
    "peak MB",
)


class Scenes:
    """Start frames and small random actions of a suite, for any number of lanes."""

    def __init__(self, suite: Suite, size: int | None = None) -> None:
        self.suite, self.size = suite, size
        task = suite.tasks[0]
        self.horizon, self.starts = task.horizon, suite.starts(task.name)

    def frames(self, lanes: int) -> np.ndarray:
        """Start frames uint8 (b h w 3), of another size if one is asked for; they repeat when the suite has fewer."""
        frames = np.stack([self.starts[lane % len(self.starts)].frame for lane in range(lanes)])
        if self.size is None:
            return frames
        rows, columns = (np.arange(self.size) * length // self.size for length in frames.shape[1:3])
        return frames[:, rows][:, :, columns]

    def begun(self, model: Any, lanes: int) -> Any:
        """A model's state at the start frames."""
        starts = [
            replace(self.starts[lane % len(self.starts)], frame=frame)
            for lane, frame in enumerate(self.frames(lanes))
        ]
        return ModelWorld(model, self.suite.robot).reset(starts, list(range(lanes)))

    def actions(self, lanes: int) -> np.ndarray:
        """What a model is given for every step, the same each time (b w)."""
        robot, rng = self.suite.robot, np.random.default_rng(0)
        shape = (lanes, robot.actions_per_frame, robot.action_width)
        drawn = rng.uniform(robot.low, robot.high, shape) * robot.used
        if robot.terminate is not None:
            drawn[..., [robot.action_names.index(name) for name in robot.terminate]] = 0
        return robot.world_actions(drawn.astype(np.float32))


def after_history(model: Any, scenes: Scenes, lanes: int) -> Any:
    """A state with ``HISTORY`` frames in it."""
    state = scenes.begun(model, lanes)
    for _ in range(HISTORY - 1):
        _, state = model.step(state, scenes.actions(lanes))
    return state


def timed(step: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call gives, and the seconds of the clock and of the processor that it takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    # Frames come back as numpy arrays, so that a GPU has finished too.
    result = step()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def throughput(model: Any, scenes: Scenes, lanes: int, steps: int) -> Timing:
    """Time ``steps`` steps in a row, after a history of ``HISTORY`` frames."""
    state, actions = after_history(model, scenes, lanes), scenes.actions(lanes)
    times = []
    for _ in range(steps):
        (_, state), wall, cpu = timed(partial(model.step, state, actions))
        times.append((wall, cpu))
    seconds = np.array(times)
    return Timing(lanes, seconds[:, 0], seconds[:, 1], model.frame_passes_per_frame, peak_memory())


def peak_memory() -> float:
    """MB."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def ratios(slow: Callable[[], Any], fast: Callable[[], Any], rounds: int) -> np.ndarray:
    """Times of ``slow`` over those of ``fast`` (rounds 2): by the clock, and by the processor.

    The two take turns in beginning a round; the first round is not counted.
    """
    found = []
    for number in range(rounds + 1):
        order = (slow, fast) if number % 2 else (fast, slow)
        times = {step: timed(step)[1:] for step in order}
        found.append(np.divide(times[slow], times[fast]))
    return np.array(found[1:])


def windowed_step(model: WorldModel, scenes: Scenes, lanes: int) -> Callable[[], Any]:
    """A step that passes over ``HISTORY`` frames and the new one, with the same frames before it."""
    whole = Windowed(model, HISTORY)
    window, actions = after_history(whole, scenes, lanes), scenes.actions(lanes)
    return lambda: whole.step(window, actions)


def cached_step(model: Any, scenes: Scenes, lanes: int) -> Callable[[], Any]:
    """A step as the model itself draws it."""
    state, actions = after_history(model, scenes, lanes), scenes.actions(lanes)
    return lambda: model.step(state, actions)


def enlarged(folder: Path, size: int, out: Path) -> Path:
    """The world model of ``folder`` for square frames of ``size`` pixels, written to ``out``."""
    small = WorldModel.from_folder(folder)
    unet = replace(small.config.unet, position_map=(size // small.config.patch,) * 2)
    large = WorldModel(replace(small.config, height=size, width=size, unet=unet))
    state = small.state_dict()
    for name, wanted in large.state_dict().items():
        if state[name].shape != wanted.shape:
            maps = state[name].reshape(1, -1, *state[name].shape[-2:])
            state[name] = F.interpolate(maps, wanted.shape[-2:]).reshape(wanted.shape)
    large.load_state_dict(state)
    large.save(out, "# For timing only\n")
    return out


def table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [HEADER, ["---:"] * len(HEADER), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pair(
    kind: str, folder: Path, device: str, sampling: SamplingOverrides, scenes: Scenes, lanes: int
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The two steps that a comparison times, the slower one first."""
    if kind == "windowed":
        # The window has another shape in each frame until it is full, so it is never compiled.
        whole = load_model(folder, device, replace(sampling, compile=False))
        if not isinstance(whole, WorldModel):
            raise ValueError("released weights have no exact cache; use --compare history")
        cached = load_model(folder, device, sampling)
        return windowed_step(whole, scenes, lanes), cached_step(cached, scenes, lanes)
    plain, changed = {
        "history": (replace(sampling, history="exact"), replace(sampling, history="cached")),
        "precision": (replace(sampling, precision="float32"), replace(sampling, precision="bfloat16")),
        "compile": (replace(sampling, compile=False), replace(sampling, compile=True)),
    }[kind]
    slow, fast = (load_model(folder, device, way) for way in (plain, changed))
    return cached_step(slow, scenes, lanes), cached_step(fast, scenes, lanes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default="drawer")
    parser.add_argument("--world", default=MODEL, help="world model folder; by default the suite's own")
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--frames", type=int, default=20, help="steps that are timed for each number of lanes"
    )
    parser.add_argument("--steps", type=int, help="denoising steps; by default the model's own")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--history", choices=("exact", "cached"), help="for released weights")
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument("--compile", action="store_true", help="compile the network before anything is timed")
    parser.add_argument("--frame-size", type=int, help="pixels; the same weights for larger square frames")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--compare",
        choices=("windowed", "history", "precision", "compile"),
        help="instead of the table: how much faster than passes over the whole window, an exact history, float32, or "
        "a network that is not compiled",
    )
    parser.add_argument("--rounds", type=int, default=9, help="pairs of steps in a comparison")
    parser.add_argument("--out", type=Path, help="also write the table or the ratios to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    suite = load_suite(options.suite)
    scenes, folder = Scenes(suite, options.frame_size), model_folder(options.world, suite)
    sampling = SamplingOverrides(
        steps=options.steps,
        guidance=options.guidance,
        history=options.history,
        precision=options.precision,
        compile=options.compile,
    )
    with tempfile.TemporaryDirectory() as scratch:
        if options.frame_size is not None:
            folder = enlarged(folder, options.frame_size, Path(scratch) / "world_model")
        lines = measured(options, folder, sampling, scenes)
    print("\n".join(lines))
    if options.out:
        write_text(options.out, "\n".join(lines) + "\n")


def measured(
    options: argparse.Namespace, folder: Path, sampling: SamplingOverrides, scenes: Scenes
) -> list[str]:
    """The table, or a line for each comparison."""
    lines = []
    if options.compare is None:
        model = load_model(folder, options.device, sampling)
        # Peak memory of a process only grows, so small batches come first.
        timings = [throughput(model, scenes, lanes, options.frames) for lanes in sorted(options.lanes)]
        lines.append(table([timing.row(scenes.horizon) for timing in timings]))
    else:
        for lanes in options.lanes:
            slow, fast = pair(options.compare, folder, options.device, sampling, scenes, lanes)
            wall, cpu = ratios(slow, fast, options.rounds).T
            lines.append(
                f"{options.compare}, lanes {lanes}: {np.median(wall):.2f} times faster by the clock "
                f"({wall.min():.2f} to {wall.max():.2f}), {np.median(cpu):.2f} by processor time "
                f"({cpu.min():.2f} to {cpu.max():.2f}), {options.rounds} pairs"
            )
    return lines


if __name__ == "__main__":
    main()
