"""Episodes out of RLDS datasets such as RT-1's, into dataset folders; TensorFlow is imported here only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from real2sim.actions import FIELDS, WIDTH, pack
from real2sim.episodes.arrays import write_arrays
from real2sim.files import read_json, write_text

RECORD = "conversion.json"
"""Says what a dataset folder was converted from."""


@dataclass(frozen=True)
class ConvertRLDS:
    """Turn an RLDS dataset into a dataset folder: one npz per episode, in the layout that training reads."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of one version of the dataset, with features.json, e.g. fractal20220817_data/0.1.0."""
    out: Path
    """Dataset folder; episodes that are there already are kept, so a stopped conversion continues."""
    split: str = "train"
    """Which episodes, in TensorFlow Datasets' own words, e.g. train[:1000]."""


def convert_rlds(config: ConvertRLDS) -> int:
    """Write the episodes and give their number.

    Raises what :func:`read_rlds` raises, and ValueError if the folder holds another dataset's episodes.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    record = config.out / RECORD
    version = config.data.resolve()
    source = {"dataset": f"{version.parent.name}/{version.name}", "split": config.split}
    if record.exists() and read_json(record) != source:
        raise ValueError(f"{config.out} holds episodes of another dataset, see {record}; name another folder")
    # Episodes are written whole and in order, so what is missing begins after the last one that is there.
    done = len(list(config.out.glob("[0-9]*.npz"))) if record.exists() else 0
    episodes = read_rlds(config.data, config.split, first=done)
    for number, episode in enumerate(tqdm(episodes, unit="episode", initial=done), start=done):
        if number == 0:
            write_text(record, json.dumps(source, indent=2) + "\n")
        write_arrays(config.out / f"{number:06d}.npz", episode_arrays(episode))
        done = number + 1
    return done


def read_rlds(folder: Path, split: str = "train", first: int = 0) -> Iterator[dict[str, Any]]:
    """Episodes of a split in the order of its files, from number ``first`` on.

    An episode is ``steps`` with every feature stacked over time, and what the dataset says of it as a whole.
    JPEG frames are decoded by TensorFlow's default, the fast integer transform, as they were for the
    published training sets; it differs from the accurate transform by about one grey level on average.

    Raises FileNotFoundError if the folder is no dataset, ImportError if TensorFlow is missing, ValueError
    for an unknown split or missing features.
    """
    episodes = _builder(folder, split).as_dataset(split=split, shuffle_files=False)
    yield from map(_stacked, episodes.skip(first))


class RLDSEpisodes:
    """The episodes of a split by number, in the order of :func:`read_rlds`, each read when it is asked for.

    Raises what :func:`read_rlds` raises, at once.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        self._folder = folder
        self._builder = _builder(folder, split)
        splits = self._builder.info.splits
        (chosen,) = _datasets().core.ReadInstruction.from_spec(split).to_absolute(splits)
        self._split, self._first = chosen.splitname, chosen.from_ or 0
        self._count = splits[split].num_examples

    def __len__(self) -> int:
        return int(self._count)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        """What a dataset folder would keep of the episode, see :func:`episode_arrays`."""
        at = self._first + number
        (episode,) = self._builder.as_dataset(split=f"{self._split}[{at}:{at + 1}]", shuffle_files=False)
        return episode_arrays(_stacked(episode))

    def where(self, number: int) -> str:
        """The place of an episode, for errors."""
        return f"{self._folder}, {self._split}[{self._first + number}]"


def _builder(folder: Path, split: str) -> Any:
    if not (folder / "features.json").is_file():
        raise FileNotFoundError(
            f"{folder} has no features.json; expected the folder of one version of an RLDS dataset, "
            "e.g. fractal20220817_data/0.1.0"
        )
    builder = _datasets().builder_from_directory(str(folder))
    _check_features(folder, builder.info.features)
    name = split.split("[")[0]
    if name not in builder.info.splits:
        raise ValueError(f"{folder} has no split {name!r}; there are {', '.join(builder.info.splits)}")
    return builder


def _stacked(episode: Any) -> dict[str, Any]:
    # All steps as one batch: one call instead of one per step.
    steps = episode["steps"].batch(len(episode["steps"])).get_single_element()
    rest = {key: value for key, value in episode.items() if key != "steps"}
    return {"steps": _numpy(steps), **_numpy(rest)}


def episode_arrays(episode: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What a dataset folder keeps of an episode.

    ``image`` uint8 (t h w 3); ``action`` float32 (t 13), the raw values in alphabetical order of their
    fields, of which ``action[i]`` leads from ``image[i]`` to ``image[i + 1]``; ``instruction``; and, where the
    dataset has them, its sentence ``embedding`` float32 (512,) and ``success``.
    """
    steps = episode["steps"]
    actions = pack({name: np.asarray(steps["action"][name], np.float32) for name in FIELDS})
    images = np.asarray(steps["observation"]["image"])
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(actions):
        raise ValueError(
            f"an episode has images {images.dtype} {images.shape} and {len(actions)} actions; "
            "expected uint8 (t, h, w, 3) and one action for each"
        )
    instruction = np.asarray(steps["observation"]["natural_language_instruction"]).reshape(-1)[0]
    text = instruction.decode("utf-8") if isinstance(instruction, bytes) else str(instruction)
    arrays = {"image": images, "action": actions.reshape(-1, WIDTH), "instruction": np.array(text)}
    if "natural_language_embedding" in steps["observation"]:
        # The same in every step of an episode.
        arrays["embedding"] = np.asarray(steps["observation"]["natural_language_embedding"], np.float32)[0]
    aspects = episode.get("aspects", {})
    if "success" in aspects and bool(aspects.get("has_aspects", True)):
        arrays["success"] = np.array(bool(aspects["success"]))
    return arrays


def _check_features(folder: Path, features: Any) -> None:
    steps = features["steps"].feature if "steps" in features else {}
    wanted = [("observation", "image"), ("observation", "natural_language_instruction")]
    wanted += [("action", name) for name in FIELDS]
    for group, name in wanted:
        if group not in steps or name not in steps[group]:
            raise ValueError(f"{folder} has no feature steps/{group}/{name}; expected RT-1's features")


def _datasets() -> Any:
    try:
        import tensorflow  # noqa: F401
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            "reading RLDS needs tensorflow and tensorflow-datasets; "
            "install them with pip install 'real2sim[tf]'"
        ) from error
    return tensorflow_datasets


def _numpy(values: Any) -> Any:
    return (
        {key: _numpy(value) for key, value in values.items()} if isinstance(values, dict) else values.numpy()
    )
