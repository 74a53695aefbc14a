"""Which features of an RLDS dataset are the frames, the actions, the state, the instruction and the outcome."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from real2sim.actions import PARTS
from real2sim.episodes.rlds.dataset import RLDSDataset
from real2sim.episodes.rlds.features import FEATURES_FILE, STEPS, Feature
from real2sim.wording import did_you_mean

LOG = logging.getLogger(__name__)
INSTRUCTIONS = (
    "steps/observation/natural_language_instruction",
    "steps/language_instruction",
    "steps/language_instruction_2",
    "steps/language_instruction_3",
    "steps/observation/language_instruction",
    "steps/natural_language_instruction",
    "steps/observation/instruction",
    "language_instruction",
    "natural_language_instruction",
)
"""Where Open X-Embodiment's datasets keep what the robot was told; the first one that is not empty counts."""
EMBEDDINGS = ("steps/observation/natural_language_embedding", "steps/language_embedding")
EMBEDDING_WIDTH = 512
MOST_NUMBERS = 10_000
"""Of an action or a state; more belong to something else, such as a point cloud."""
OUTCOMES = (("aspects/success", "aspects/has_aspects"), ("episode_metadata/success", ""), ("success", ""))
"""Where an outcome stands, and what says whether it was recorded at all."""
COMMON_IMAGES = ("image", "image_0", "rgb", "front_rgb", "exterior_image_1_left")
"""Cameras that are taken without asking where a dataset has several."""


@dataclass(frozen=True)
class RLDSLayout:
    """The features that are read, and the names of the numbers in them."""

    images: tuple[Feature, ...]
    action: tuple[Feature, ...]
    action_names: tuple[str, ...]
    state: tuple[Feature, ...] = ()
    state_names: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()
    """Paths, in the order in which they are tried."""
    embedding: str | None = None
    outcome: tuple[str, str] | None = None

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(feature.path.rsplit("/", 1)[1] for feature in self.images)


def choose_layout(
    dataset: RLDSDataset,
    image: Sequence[str] = (),
    action: Sequence[str] = (),
    state: Sequence[str] = (),
    instruction: str | None = None,
) -> RLDSLayout:
    """The layout of a dataset, where ``image``, ``action`` and ``state`` name features by the end of their paths.

    ``action`` may hold names for the numbers of a flat action instead.  Raises ValueError, with what there is to
    choose from, if a feature is missing or more than one could be meant.
    """
    pictures = dataset.paths("image")
    images = tuple(_among(dataset, pictures, name, "camera") for name in image) or _default_images(dataset)
    features, names = _action(dataset, action)
    observed = dataset.paths("number", f"{STEPS}/observation/")
    states = tuple(item for name in state for item in _vectors(dataset, observed, name))
    texts = {**dataset.paths("text", ""), **_number_texts(dataset)}
    told = [path for path in INSTRUCTIONS if path in texts]
    if instruction is not None:
        told = [_among(dataset, texts, instruction, "text").path]
    embedding = [path for path in EMBEDDINGS if path in dataset.features]
    outcomes = [pair for pair in OUTCOMES if pair[0] in dataset.paths("number", "")]
    for path in {path for path, _ in OUTCOMES if path in dataset.features} - {path for path, _ in outcomes}:
        LOG.warning(
            "%s: %s is no number, so outcomes are not read; give a table with --outcomes",
            dataset.folder,
            path,
        )
    for option, chosen in (("--image", images), ("--action", features), ("--state", states)):
        _check_once(dataset, option, chosen)
    return RLDSLayout(
        images=images,
        action=features,
        action_names=names,
        state=states,
        state_names=_number_names(states),
        instructions=tuple(told),
        embedding=next((path for path in embedding if dataset.features[path].width == EMBEDDING_WIDTH), None),
        outcome=outcomes[0] if outcomes else None,
    )


def _check_once(dataset: RLDSDataset, option: str, chosen: Sequence[Feature]) -> None:
    """Raise a ValueError where an option means a feature twice, or two whose numbers or pictures have one name."""
    known: dict[str, Feature] = {}
    for feature in chosen:
        names = _number_names((feature,)) if feature.kind == "number" else (feature.path.rsplit("/", 1)[1],)
        other = next((known[name] for name in names if name in known), None)
        if other is feature:
            raise ValueError(f"{dataset.folder}: {option} means {_short(feature.path)} twice; name it once")
        if other is not None:
            raise ValueError(
                f"{dataset.folder}: {option} means {_short(other.path)} and {_short(feature.path)}, which would have "
                "one name; choose one of them"
            )
        known |= dict.fromkeys(names, feature)


def _default_images(dataset: RLDSDataset) -> tuple[Feature, ...]:
    found = {path: item for path, item in dataset.paths("image").items() if "depth" not in path}
    if not found:
        others = [
            f"{_short(path)} are {item.dtype}"
            for path, item in dataset.features.items()
            if item.dtype[:6] == "images"
        ]
        raise ValueError(
            f"{dataset.folder} has no camera: none of its features under {STEPS}/ is an image of 8 bits"
            + "".join(f"; {other}" for other in others)
        )
    for name in COMMON_IMAGES:
        path = f"{STEPS}/observation/{name}"
        if path in found:
            return (found[path],)
    if len(found) > 1:
        raise ValueError(
            f"{dataset.folder} has several cameras, {', '.join(_short(path) for path in found)}; choose with --image"
        )
    return tuple(found.values())


def _action(dataset: RLDSDataset, words: Sequence[str]) -> tuple[tuple[Feature, ...], tuple[str, ...]]:
    # Names such as joint_position often stand under the action and under the observation.
    numbers = {path: item for path, item in dataset.paths("number").items() if "/observation/" not in path}
    known = {path for path in numbers if any(_ends(path, word) for word in words)}
    inside = {path for path in numbers if any(f"/{word.strip('/')}/" in path for word in words)}
    if words and not known and not inside:
        # Words that name no feature are names for the numbers of a flat action.
        features = _vectors(dataset, numbers, "action")
        width = sum(feature.width for feature in features)
        if len(features) == 1 and len(words) == width:
            if len(set(words)) != width:
                raise ValueError(
                    f"--action names two numbers alike: {' '.join(words)}; give each its own name"
                )
            return features, tuple(words)
        raise ValueError(
            f"{dataset.folder}: --action {' '.join(words)} names no feature, and its {len(words)} words cannot name "
            f"the numbers of the action, which are {width}; features of numbers are "
            f"{', '.join(_short(path) for path in numbers if 'action' in path) or 'none'}"
        )
    chosen = tuple(item for word in words or ("action",) for item in _vectors(dataset, numbers, word))
    return chosen, _number_names(chosen)


def _vectors(dataset: RLDSDataset, numbers: dict[str, Feature], word: str) -> tuple[Feature, ...]:
    """The features of numbers that a word means: one of that name, or all inside of it in alphabetical order."""
    inner = [
        path for path in sorted(numbers) if f"/{word.strip('/')}/" in f"{path}/" and not _ends(path, word)
    ]
    exact = [path for path in numbers if _ends(path, word)]
    if len(exact) == 1 or not inner:
        return (_among(dataset, numbers, word, "feature of numbers"),)
    return tuple(numbers[path] for path in inner)


def _among(dataset: RLDSDataset, found: dict[str, Feature], word: str, what: str) -> Feature:
    hits = [path for path in found if _ends(path, word)]
    if len(hits) != 1:
        said = "no" if not hits else "more than one"
        names = [_short(path) for path in found]
        wanted = {"camera": "image", "text": "text"}.get(what, "number")
        others = [
            item for path, item in dataset.features.items() if item.kind != wanted and _ends(path, word)
        ]
        if not hits and others:
            is_a = {"text": "text", "image": "an image", "number": "numbers"}.get(
                others[0].kind, others[0].dtype
            )
            raise ValueError(
                f"{dataset.folder}: {_short(others[0].path)} is {is_a}, expected a {what}; it has "
                f"{', '.join(names) or 'none'}"
            )
        raise ValueError(
            f"{dataset.folder} has {said} {what} called {word!r}{did_you_mean(word, names)}; "
            f"it has {', '.join(hits or names) or 'none'}"
        )
    return found[hits[0]]


def _ends(path: str, word: str) -> bool:
    return f"/{path}".endswith(f"/{word.strip('/')}")


def _short(path: str) -> str:
    return path.removeprefix(f"{STEPS}/").removeprefix("observation/")


def _number_names(features: Sequence[Feature]) -> tuple[str, ...]:
    """One name per number: the feature's, with a part where it has several numbers."""
    names: list[str] = []
    for feature in features:
        if feature.width > MOST_NUMBERS:
            raise ValueError(
                f"{FEATURES_FILE} says that {feature.path} has {feature.width} numbers a step, expected at most "
                f"{MOST_NUMBERS}; choose another feature or download the file again"
            )
        short = feature.path.rsplit("/", 1)[1]
        if not feature.shape or feature.width == 1:
            names.append(short)
            continue
        parts = PARTS.get(short, ())
        chosen = parts if len(parts) == feature.width else tuple(map(str, range(feature.width)))
        names += [f"{short}.{part}" for part in chosen]
    return tuple(names)


def _number_texts(dataset: RLDSDataset) -> dict[str, Feature]:
    """Instructions that are stored as the numbers of their letters."""
    numbers = dataset.paths("number", "")
    return {path: numbers[path] for path in INSTRUCTIONS if path in numbers and numbers[path].width > 16}
