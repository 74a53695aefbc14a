"""Dataset folders: one npz per episode, in the layout of Vid2World's converter (``image``, ``action``) and more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from real2sim.actions import WIDTH, rt1_robot
from real2sim.checks import check_text
from real2sim.episodes.arrays import read_arrays
from real2sim.episodes.bounds import LARGEST
from real2sim.episodes.keep_out import for_training
from real2sim.files import read_json
from real2sim.robot import Robot, read_robot

EXPERT_LABELS_FILE = "expert_labels.json"
"""Task -> ``instruction`` and ``array``: which array of each episode holds what an expert of that task would do."""

TEXTS = {"instruction", "task", "controller", "source"}
"""Arrays that are one piece of text."""


def expert_labels(folder: Path) -> dict[str, tuple[str, str]]:
    """Task -> its instruction and the array of each episode that holds what its expert would do."""
    path = folder / EXPERT_LABELS_FILE
    values = read_json(path)
    try:
        return {str(task): (str(said["instruction"]), str(said["array"])) for task, said in values.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} should map each task to its 'instruction' and the 'array' with its expert's actions"
        ) from error


def dataset_files(folder: Path) -> list[Path]:
    """The episodes of a dataset folder, by name; hidden files, as a Mac leaves beside them (``._0.npz``), are none."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder; expected a dataset folder with one npz file per episode"
        )
    files = sorted(path for path in folder.glob("*.npz") if not path.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"{folder} holds no npz file; expected one per episode (see docs/data.md)")
    return files


def dataset_robot(folder: Path) -> Robot:
    """The robot of a dataset folder: that of ``robot.json``, or RT-1's with frames as large as the first episode's."""
    robot = read_robot(folder)
    if robot is not None:
        return robot
    height, width = read_npz(dataset_files(folder)[0], ["image"])["image"].shape[1:3]
    return rt1_robot(image_size=(height, width))


def read_npz(
    path: Path, names: Sequence[str] = ("image", "action"), optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays of one episode: image (t h w 3) uint8, action (t n) or (t K n) float32 and what else is asked for.

    n, K, the size of the frames and the width of ``state`` (t m) are those of ``robot.json`` in the file's folder; a
    folder without one holds RT-1's 13 numbers.  ``optional`` arrays are left out where the file has none.
    """
    arrays = read_arrays(path, names, optional)
    _check_episode(arrays, path, read_robot(path.parent))
    return arrays


def _check_episode(arrays: Mapping[str, np.ndarray], path: Path, robot: Robot | None) -> None:
    """Raise a ValueError that names the file, the array and the step where an episode is not one."""
    image, action = arrays.get("image"), arrays.get("action")
    if image is not None and (image.ndim != 4 or image.shape[-1] != 3 or image.dtype != np.uint8):
        raise ValueError(f"{path}: image is {image.dtype} {image.shape}, expected uint8 (t, h, w, 3)")
    if image is not None and not image.size:
        raise ValueError(f"{path}: image has shape {image.shape}; an episode needs at least one frame")
    expected = (WIDTH,) if robot is None else robot.action_shape
    if action is not None and (action.ndim == 0 or action.shape[1:] != expected):
        wanted = ", ".join(map(str, ("t", *expected)))
        raise ValueError(f"{path}: action has shape {action.shape}, expected ({wanted})")
    if robot is not None and image is not None and image.shape[1:3] != robot.canvas_size:
        found, wanted = (f"{h} x {w}" for h, w in (image.shape[1:3], robot.canvas_size))
        raise ValueError(
            f"{path}: image has {found} pixels, the cameras of robot.json beside it fill {wanted}"
        )
    state = arrays.get("state")
    if robot is not None and robot.state and state is not None and state.shape[1:] != (len(robot.state),):
        raise ValueError(f"{path}: state has shape {state.shape}, expected (t, {len(robot.state)})")
    if action is not None and action.dtype.kind not in "fiu":
        raise ValueError(f"{path}: action is of type {action.dtype}, expected numbers")
    frames = None if image is None else len(image)
    # Nothing needs an action after the last frame.
    if frames is not None and action is not None and len(action) not in (frames, frames - 1):
        raise ValueError(
            f"{path}: action has {len(action)} rows for {frames} frames of image; expected one per frame"
        )
    if frames is not None and state is not None and len(state) != frames:
        raise ValueError(
            f"{path}: state has {len(state)} rows for {frames} frames of image; expected one per frame"
        )
    for name in TEXTS & set(arrays):
        if arrays[name].dtype.kind != "U" or arrays[name].ndim:
            raise ValueError(
                f"{path}: {name} is {arrays[name].dtype} {arrays[name].shape}, expected one piece of text"
            )
    if "success" in arrays and (arrays["success"].dtype != np.bool_ or arrays["success"].ndim):
        raise ValueError(
            f"{path}: success is {arrays['success'].dtype} {arrays['success'].shape}, expected one bool"
        )
    for name in TEXTS & set(arrays):
        check_text(f"{path}: {name}", str(arrays[name]))
    for name, array in arrays.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            step = int(np.argwhere(~np.isfinite(np.atleast_1d(array)))[0][0])
            raise ValueError(
                f"{path}: {name} holds NaN or infinity at step {step}; leave the episode out or record it again"
            )
        if name in ("action", "state") and array.size and not float(np.abs(array).max()) < LARGEST:
            step = int(np.argwhere(~(np.abs(array.astype(np.float64)) < LARGEST))[0][0])
            raise ValueError(
                f"{path}: {name} holds {np.abs(array).max():g} at step {step}, expected numbers of less than "
                f"{LARGEST:g}; leave the episode out or record it again"
            )


def check_one_size(
    sizes: Mapping[Path, tuple[int, ...]], remedy: str = "leave it out, or convert all of them to one size"
) -> None:
    """ValueError unless the frames of all files have one size (height, width); the first with a rarer one is named."""
    counts = Counter(sizes.values()).most_common()
    if len(counts) < 2:
        return
    (height, width), count = counts[0]
    path = next(path for path, size in sizes.items() if size != (height, width))
    raise ValueError(
        f"{path} has frames of {sizes[path][0]} x {sizes[path][1]} pixels, {count} other episodes have {height} x "
        f"{width}; {remedy}"
    )


def read_dataset(
    folder: Path, names: Sequence[str] = ("image", "action"), limit: int | None = None
) -> dict[str, np.ndarray]:
    """A whole dataset of equally long episodes, stacked: name -> (episodes, ...); starts of suites are left out."""
    paths = for_training(dataset_files(folder))[:limit]
    episodes = [read_npz(path, names) for path in paths]
    if "image" in names:
        check_one_size({path: data["image"].shape[1:3] for path, data in zip(paths, episodes, strict=True)})
    lengths = {len(episode[names[0]]) for episode in episodes if episode[names[0]].ndim}
    if len(lengths) > 1:
        raise ValueError(
            f"{folder}: episodes have {min(lengths)} to {max(lengths)} steps; equally long ones are needed here"
        )
    return {name: np.stack([episode[name] for episode in episodes]) for name in names}
