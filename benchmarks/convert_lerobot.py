"""How many source frames of a LeRobot dataset one processor core turns into a dataset folder per second.

``python -m benchmarks.convert_lerobot`` makes a v3.0 dataset of two cameras of 640 x 480 pixels at 30 Hz in which a
textured scene moves, in AV1 (as LeRobot records) and in H.264, and converts it with one process at the rates and
sizes that people use. Source frames of both cameras are counted; time is processor time, the tables' check included and
that of importing what decodes and reads tables left out.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from real2sim.episodes.lerobot.convert import ConvertLeRobot, convert_lerobot
from real2sim.episodes.lerobot.recording import CODECS, Recording
from real2sim.episodes.lerobot.writer import LeRobotWriter

CAMERAS = ("front", "wrist")


@dataclass(frozen=True)
class Benchmark:
    """Convert a made-up recording in several ways and print a table."""

    episodes: int = 2
    length: int = 150
    """Frames per episode."""
    height: int = 480
    width: int = 640
    codecs: tuple[str, ...] = tuple(CODECS)


def scene(length: int, height: int, width: int, seed: int) -> np.ndarray:
    """A smooth texture that drifts, with a bright square on it and a little sensor noise: uint8 (t h w 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (height // 16 + 4, width // 16 + 4, 3), dtype=np.uint8)
    texture = coarse.repeat(16, 0).repeat(16, 1)
    noise = rng.integers(-3, 4, (8, height, width, 3), dtype=np.int16)
    frames = np.empty((length, height, width, 3), np.uint8)
    for t in range(length):
        shift = t % 48
        frame = texture[shift : shift + height, shift : shift + width] + noise[t % 8]
        frame[height // 3 : height // 2, t % (width // 2) : t % (width // 2) + width // 8] = 240
        frames[t] = frame.clip(0, 255)
    return frames


def record(folder: Path, config: Benchmark, codec: str) -> None:
    """Write the dataset."""
    motors = tuple(f"joint_{i}.pos" for i in range(6))
    recording = Recording(
        30, motors, dict.fromkeys(CAMERAS, (config.height, config.width)), motors, "toy", codec
    )
    with LeRobotWriter(folder, recording) as writer:
        for episode in range(config.episodes):
            joints = np.cumsum(np.ones((config.length, 6), np.float32), axis=0)
            images = {
                name: scene(config.length, config.height, config.width, 2 * episode + i)
                for i, name in enumerate(CAMERAS)
            }
            writer.add("push the block", images, joints, joints)


def main() -> None:
    """Print the table."""
    config = tyro.cli(Benchmark)
    frames = config.episodes * config.length * len(CAMERAS)
    import av  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    print(f"{frames} source frames of {config.width} x {config.height}, one process\n")
    print("| codec | kept | stored | source frames per second and core |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for codec in config.codecs:
            data = Path(scratch) / codec
            record(data, config, codec)
            for hz, size in (
                (3.0, (96, 128)),
                (10.0, (96, 128)),
                (30.0, (96, 128)),
                (3.0, None),
                (30.0, None),
            ):
                out = Path(scratch) / f"{codec}-{hz:g}-{size}"
                began = time.process_time()
                convert_lerobot(ConvertLeRobot(data, out, hz=hz, size=size, processes=1), progress=False)
                speed = frames / (time.process_time() - began)
                stored = "as recorded" if size is None else f"{size[0]} x {size[1]}"
                print(f"| {codec} | {hz:g} Hz | {stored} | {speed:.0f} |", flush=True)


if __name__ == "__main__":
    main()
