"""Small LeRobot datasets of every version, with real mp4 files whose frames tell which frame of which camera they are.

``python tests/episodes/lerobot/make_lerobot.py OUT --version v2.1`` writes one to look at.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from real2sim.episodes.lerobot.recording import Recording
from real2sim.episodes.lerobot.writer import LeRobotWriter, VideoFile

MOTORS = ("shoulder_pan.pos", "elbow_flex.pos", "gripper.pos")
CAMERAS = ("front", "wrist")
TASKS = ("Push the block.", "Pull the block.")
SIZE = (64, 96)


def grey(camera: int, episode: int, frame: int) -> int:
    """The grey level of a frame: neighbours differ by 8, and no two of an episode agree within 29 frames."""
    return 16 + 8 * ((frame + 7 * episode + 11 * camera) % 29)


def frames(camera: int, episode: int, length: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frames (t h w 3) of one grey each."""
    levels = [grey(camera, episode, frame) for frame in range(length)]
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (length, *size, 3)).copy()


def numbers(episode: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Actions and states (t 3): an action is the frame's number plus 100 times the episode's, a state half less."""
    at = 100 * episode + np.arange(length, dtype=np.float32)[:, None] + np.array([0, 0.25, 0.125], np.float32)
    return at.astype(np.float32), (at - 0.5).astype(np.float32)


def make_v3(
    folder: Path,
    lengths: Sequence[int] = (12, 7, 10),
    codec: str = "libx264",
    fps: int = 30,
    size: tuple[int, int] = SIZE,
    **settings: Any,
) -> Path:
    """A v3.0 dataset: several episodes per file."""
    recording = Recording(
        fps, MOTORS, dict.fromkeys(CAMERAS, size), MOTORS, "so101_follower", codec, **settings
    )
    with LeRobotWriter(folder, recording) as writer:
        for episode, length in enumerate(lengths):
            action, state = numbers(episode, length)
            images = {name: frames(i, episode, length, size) for i, name in enumerate(CAMERAS)}
            writer.add(TASKS[episode % 2], images, action, state)
    return folder


def make_v2(
    folder: Path,
    version: str = "v2.1",
    lengths: Sequence[int] = (12, 7, 10),
    codec: str = "libx264",
    fps: float = 30,
    names: Any = None,
    images_in_tables: bool = False,
    outcomes: bool = False,
) -> Path:
    """A v2 dataset: one table and one mp4 per camera for each episode; or encoded images in the tables."""
    motors = {"dtype": "float32", "shape": [3], "names": list(MOTORS) if names is None else names}
    features: dict[str, Any] = {"action": motors, "observation.state": motors}
    for name in CAMERAS:
        features[f"observation.images.{name}"] = {
            "dtype": "image" if images_in_tables else "video",
            "shape": [3, *SIZE],
            "names": ["channels", "height", "width"],
        }
    features["observation.images.depth"] = {
        "dtype": "video", "shape": [*SIZE, 3], "names": ["height", "width", "channel"],
        "video_info": {"video.is_depth_map": True},
    }  # fmt: skip
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    if outcomes:
        features["next.success"] = {"dtype": "bool", "shape": [1], "names": None}
    first = 0
    episodes = []
    for episode, length in enumerate(lengths):
        action, state = numbers(episode, length)
        columns: dict[str, Any] = {
            "action": pyarrow.array(action.tolist(), pyarrow.list_(pyarrow.float32())),
            "observation.state": pyarrow.array(state.tolist(), pyarrow.list_(pyarrow.float32())),
            "timestamp": (np.arange(length) / fps).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, episode),
            "index": first + np.arange(length),
            "task_index": np.full(length, episode % 2),
        }
        if outcomes:
            columns["next.success"] = [False] * (length - 1) + [episode % 2 == 0]
        for i, name in enumerate(CAMERAS):
            key, film = f"observation.images.{name}", frames(i, episode, length)
            if images_in_tables:
                columns[key] = [
                    {"bytes": png(frame), "path": f"frame-{t:06d}.png"} for t, frame in enumerate(film)
                ]
            else:
                path = folder / f"videos/chunk-000/{key}/episode_{episode:06d}.mp4"
                video = VideoFile(path, SIZE, round(fps), codec)
                video.append(film)
                video.close()
        path = folder / f"data/chunk-000/episode_{episode:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        episodes.append({"episode_index": episode, "tasks": [TASKS[episode % 2]], "length": length})
        first += length
    info = {
        "codebase_version": version, "robot_type": "so100", "total_episodes": len(lengths),
        "total_frames": first, "total_tasks": 2, "total_videos": 2 * len(lengths), "total_chunks": 1,
        "chunks_size": 1000, "fps": fps, "splits": {"train": f"0:{len(lengths)}"}, "features": features,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }  # fmt: skip
    meta = folder / "meta"
    meta.mkdir()
    (meta / "info.json").write_text(json.dumps(info))
    (meta / "tasks.jsonl").write_text(lines({"task_index": i, "task": text} for i, text in enumerate(TASKS)))
    (meta / "episodes.jsonl").write_text(lines(episodes))
    return folder


def edit_info(folder: Path, **changes: Any) -> None:
    """Change fields of ``info.json``."""
    path = folder / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_table(path: Path, change: Callable[[dict[str, list[Any]]], None]) -> None:
    """Change the columns of a parquet file, given as lists; its types stay."""
    table = pyarrow.parquet.read_table(path)
    columns = table.to_pydict()
    change(columns)
    fields = [field for field in table.schema if field.name in columns]
    pyarrow.parquet.write_table(pyarrow.table(columns, pyarrow.schema(fields)), path)


def lines(rows: Any) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def png(frame: np.ndarray) -> bytes:
    """A frame as an encoded image."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


MAKERS: Mapping[str, Callable[..., Path]] = {
    "v3.0": make_v3,
    "v2.1": make_v2,
    "v2.0": lambda folder, **settings: make_v2(folder, "v2.0", **settings),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--version", choices=list(MAKERS), default="v3.0")
    parser.add_argument("--codec", default="libsvtav1")
    arguments = parser.parse_args()
    MAKERS[arguments.version](arguments.out, codec=arguments.codec)
