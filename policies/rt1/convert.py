"""From a TensorFlow checkpoint or SavedModel of RT-1 to a model folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.actions import FIELDS, ActionBounds
from real2sim.checks import check_finite
from real2sim.episodes.npz import read_npz
from real2sim.failures import one_line
from real2sim.model_folder import CONFIG_FILE, load_tensors, read_kind
from real2sim.policies.policy import observe_frames
from real2sim.policies.rt1.action_tokens import bin_width
from real2sim.policies.rt1.config import Block, RT1Config, efficientnet_blocks
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.policy import KIND, RT1, RT1Policy, save_rt1
from real2sim.policies.rt1.saved_model import GRIPPER_DEAD_ZONE, SavedModelRT1, import_tensorflow
from real2sim.policies.rt1.tf_variables import COUNT, NET, ROOT, saved_model_keys, tensors_from_variables

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
NUMBERED, TRAINING_STEP = "model_variables/", "model_variables/0"
OPTIMIZER = "/.OPTIMIZER_SLOT/"
"""Marks an optimiser's moments, which checkpoints keep under the name of the variable they belong to."""
PARTS = (
    "mean", "variance", "count", "depthwise_kernel", "kernel", "bias", "moving_mean", "moving_variance", "gamma",
    "beta", "_projection_add/kernel", "_projection_add/bias", "_projection_mult/kernel", "_projection_mult/bias",
)  # fmt: skip
"""Variables of a layer in the order in which SavedModels count them."""


@dataclass(frozen=True)
class ConvertRT1:
    """Convert an RT-1 checkpoint or SavedModel of TensorFlow into a model folder (extra 'tf')."""

    source: Path
    """Checkpoint (its path without .index) or folder of a SavedModel."""
    out: Path
    """Model folder to write."""
    embeddings: Path | None = None
    """npz file with one sentence embedding (512,) per instruction, as `real2sim convert embeddings` writes it."""
    verify: Path | None = None
    """npz episode (`image`, `instruction`); the converted network and the SavedModel must act alike on it."""
    bounds: ActionBounds = field(default_factory=ActionBounds)
    """Range of each action field in training; world_vector is (-2, 2) for RT-1-X."""
    gripper_dead_zone: float = GRIPPER_DEAD_ZONE
    """Gripper commands below this become 0, as SIMPLER does on the Google robot; 0 for WidowX."""

    def __post_init__(self) -> None:
        check_finite("gripper_dead_zone", self.gripper_dead_zone, 0, 1)


def convert_rt1(convert: ConvertRT1) -> Path:
    """Write the folder; every variable of the source is accounted for.

    Raises FileExistsError, FileNotFoundError or ValueError with one sentence, and writes nothing then.
    """
    _check_place(convert.out)
    network = _network(convert)
    config = network.config
    table = InstructionTable({}, config.embedding)
    if convert.embeddings is not None:
        table = InstructionTable.from_npz(convert.embeddings, config.embedding)
    verdict = (
        "not verified: the published graph may differ from the published source (--verify compares them)"
    )
    if convert.verify is not None:
        verdict = verify(convert.source, RT1Policy(network, table), convert.verify)
    acting = RT1(replace(config, gripper_dead_zone=convert.gripper_dead_zone))
    acting.load_state_dict(network.state_dict(), strict=True)
    size = sum(parameter.numel() for parameter in network.parameters())
    card = f"# RT-1\n\nConverted from TensorFlow; {size:,} parameters, {len(table)} instructions.\n\n- {verdict}\n"
    save_rt1(convert.out, acting, table, card)
    return convert.out


def _check_place(out: Path) -> None:
    """A policy may be converted again; whatever else is there is the user's."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / CONFIG_FILE).is_file() or read_kind(out) != KIND:
        raise FileExistsError(
            f"{out} exists already and is no RT-1 policy; name a folder that does not exist"
        )


def _network(convert: ConvertRT1) -> RT1:
    """The network with the variables of the source; a ValueError names the source."""
    variables = read_variables(convert.source)
    try:
        config = config_from_variables(variables, convert.bounds)
        tensors = tensors_from_variables(variables, config)
    except ValueError as error:
        raise ValueError(f"{convert.source}: {error}") from error
    network = RT1(config)
    load_tensors(network, tensors, str(convert.source))
    return network


def read_variables(source: Path) -> dict[str, np.ndarray]:
    """Variables by the names they have in checkpoints, numbers as float32."""
    tf = import_tensorflow()
    prefix = source / "variables" / "variables" if (source / "saved_model.pb").exists() else source
    if source.is_dir() and prefix == source:
        prefix = Path(tf.train.latest_checkpoint(str(source)) or source / "checkpoint")
    index = prefix.with_name(prefix.name + ".index")
    if not index.is_file():
        found = "is no file" if os.path.lexists(index) else "does not exist"
        raise FileNotFoundError(
            f"{index} {found}; expected a TensorFlow checkpoint or SavedModel, named without .index"
        )
    with _reading(prefix):
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
    names = {key: key.removesuffix(SUFFIX) for key in shapes}
    # What lies beside the network (optimiser, counters, the object graph) is training state.
    kept = {
        name: key
        for key, name in names.items()
        if name.startswith((ROOT, NUMBERED)) and name != TRAINING_STEP and OPTIMIZER not in key
    }
    if not kept:
        raise ValueError(f"{prefix} has no variable under {ROOT} or {NUMBERED}; is this an RT-1 checkpoint?")
    if all(name.startswith(NUMBERED) for name in kept):
        odd = next((name for name in kept if not re.fullmatch(rf"{NUMBERED}[0-9]{{1,9}}", name)), None)
        if odd is not None:
            raise ValueError(f"{prefix}: variable {odd} is unknown; is this an RT-1 checkpoint?")
        numbered = sorted(kept, key=lambda name: int(name.rpartition("/")[2]))
        try:
            config = _config([tuple(shapes[kept[name]]) for name in numbered], ActionBounds())
        except ValueError as error:
            raise ValueError(f"{prefix}: {error}") from error
        translated = saved_model_keys(config)
        kept = {translated.get(name, name): key for name, key in kept.items()}
    variables: dict[str, np.ndarray] = {}
    for name, key in kept.items():
        with _reading(prefix):
            value = np.asarray(reader.get_tensor(key))
        variables[name] = value if name == COUNT else _weights(tf, value, f"{prefix}: variable {name}")
    return variables


@contextmanager
def _reading(prefix: Path) -> Iterator[None]:
    """What TensorFlow says of a damaged checkpoint, as one sentence."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # TensorFlow's errors have no common class with Python's.
        said = one_line(error).partition("; ")[0][:200]
        raise ValueError(
            f"{prefix} cannot be read as a TensorFlow checkpoint ({said}); copy its .index and .data files again"
        ) from error


def _weights(tf: Any, value: np.ndarray, where: str) -> np.ndarray:
    kind = tf.as_dtype(value.dtype) if value.dtype != object else tf.string
    if not kind.is_floating:
        raise ValueError(
            f"{where} is {kind.name}, expected floating-point weights; is this an RT-1 checkpoint?"
        )
    with np.errstate(over="ignore"):
        weights = value.astype(np.float32)
    bad = weights.size - int(np.isfinite(weights).sum())
    if bad:
        raise ValueError(
            f"{where} has {bad} of {weights.size} numbers that are not finite, or are beyond float32; the file is "
            "damaged or its training failed, choose another checkpoint"
        )
    return weights


def config_from_variables(variables: Mapping[str, np.ndarray], bounds: ActionBounds) -> RT1Config:
    """Sizes of the network that has these variables."""
    layers: dict[int, list[str]] = {}
    for name in variables:
        if found := re.fullmatch(re.escape(NET) + r"(\d+)/(.+)", name):
            layers.setdefault(int(found[1]), []).append(found[2])
    if not layers:
        raise ValueError(f"no variable is called {NET}...; is this an RT-1 checkpoint?")
    for number, parts in layers.items():
        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            raise ValueError(f"variable {NET}{number}/{unknown[0]} is unknown; is this an RT-1 checkpoint?")
    count = len(
        {
            name
            for name in variables
            if re.fullmatch(re.escape(ROOT) + r"_transformer/_layers/\d+/ff/bias", name)
        }
    )
    # Only the part before EfficientNet, EfficientNet and what follows matter, in the order of SavedModels.
    names = [ROOT + "_action_token_emb/kernel", ROOT + "_action_token_emb/bias"]
    names.append(ROOT + "_image_tokenizer/_tokenizer/conv1x1/kernel")
    names += [f"{NET}{n}/{part}" for n in sorted(layers) for part in sorted(layers[n], key=PARTS.index)]
    if COUNT not in variables:
        names.insert(names.index(NET + "0/variance") + 1, COUNT)
    after = [row for row in saved_model_keys(RT1Config(layers=count)).values() if not row.startswith(NET)]
    names += after[after.index(names[2]) + 1 :]
    missing = [name for name in names if name not in variables and name != COUNT]
    if missing:
        raise ValueError(
            f"variable {missing[0]} is missing; is this an RT-1 checkpoint of the published kind?"
        )
    return _config([variables[name].shape if name in variables else () for name in names], bounds)


def _config(shapes: Sequence[tuple[int, ...]], bounds: ActionBounds) -> RT1Config:
    """Sizes from the shapes of all variables in the order of SavedModels."""
    try:
        return _read_config(iter(shapes), list(shapes), bounds)
    except (StopIteration, IndexError, TypeError, ZeroDivisionError, ValueError) as error:
        own = isinstance(error, ValueError) and "unpack" not in str(error)
        reason = error if own else "one has too few or too many dimensions"
        raise ValueError(
            f"the variables do not have the shapes of an RT-1 network ({reason}); is this an RT-1 checkpoint of the "
            "published kind?"
        ) from error


def _read_config(
    upcoming: Iterator[tuple[int, ...]], shapes: list[tuple[int, ...]], bounds: ActionBounds
) -> RT1Config:
    (vocabulary, token_width), _, project = shapes[0], shapes[1], shapes[2]
    stem = shapes[6][3]
    found: list[tuple[int, int, int, int]] = []
    position, width = 11, stem
    # A bottleneck is [expansion, norm,] depthwise, norm, squeeze, excite, projection, norm, FiLM.
    while True:
        expanded = shapes[position][3] != 1
        if expanded and len(shapes[position + 5]) != 4:
            break
        hidden = shapes[position][3] if expanded else shapes[position][2]
        depthwise = position + 5 * expanded
        out = shapes[depthwise + 9][3]
        found.append((shapes[depthwise][0], width, out, hidden // width))
        width, position = out, depthwise + 18
    top = shapes[position][3]
    embedding = shapes[position + 5][0]
    learner, transformer = position + 9, position + 15
    per_layer = 14
    layers = (len(shapes) - transformer - 6) // per_layer
    heads, head_width = shapes[transformer + 3]
    tail = shapes[-6:]
    tokens = shapes[learner + 3][0]
    history, rest = divmod(tail[2][0], tokens + 11)
    if rest or project[3] != token_width:
        raise ValueError(f"{tail[2][0]} positions are no multiple of {tokens} image and 11 action tokens")
    return RT1Config(
        stem=stem,
        blocks=_with_strides(found),
        top=top,
        embedding=embedding,
        token_width=token_width,
        tokens=tokens,
        token_learner_hidden=shapes[learner + 1][0],
        layers=layers,
        width=tail[0][0],
        heads=heads,
        head_width=head_width,
        vocabulary=vocabulary,
        history=history,
        bounds=bounds,
    )


def _with_strides(found: list[tuple[int, int, int, int]]) -> tuple[Block, ...]:
    """Blocks with their strides, which no weight shows: those of the EfficientNet that has these sizes."""
    matches = set()
    for depth in np.arange(1, 65) / 20:
        if len(efficientnet_blocks(1.0, depth)) != len(found):
            continue
        for width in np.arange(1, 81) / 20:
            blocks = efficientnet_blocks(float(width), float(depth))
            if [(b.kernel, b.filters_in, b.filters_out, b.expand) for b in blocks] == found:
                matches.add(blocks)
    if len(matches) != 1:
        raise ValueError(
            f"{len(matches)} EfficientNets have its {len(found)} blocks, so that the strides are not known"
        )
    return matches.pop()


def verify(saved_model: Path, policy: RT1Policy, episode: Path) -> str:
    """A sentence on whether network and SavedModel choose the same tokens along an episode's frames."""
    if not (saved_model / "saved_model.pb").is_file():
        raise ValueError(
            f"{saved_model} is no SavedModel; a checkpoint alone cannot be run to verify against"
        )
    recorded = read_npz(episode, ["image", "instruction"])
    # Without a dead zone, in which two tokens would look alike.
    reference = SavedModelRT1(saved_model, policy.instructions, gripper_dead_zone=0)
    instruction = str(recorded["instruction"])
    policy.reset([instruction])
    reference.reset([instruction])
    config, same, steps = policy.network.config, 0, len(recorded["image"])
    for frame in recorded["image"]:
        seen = observe_frames(frame[None], [instruction])
        difference = np.abs(policy.act(seen) - reference.act(seen))[0]
        same += all(difference[where].max() < 0.5 * _bin(config, name) for name, where in FIELDS.items())
    reference.close()
    if same == steps:
        return f"verified: all tokens agree with the SavedModel on the {steps} frames of {episode.name}"
    return (
        f"NOT equal to the SavedModel: tokens agree on {same} of {steps} frames of {episode.name}; "
        "use the SavedModel, or another action_order or bounds"
    )


def _bin(config: RT1Config, name: str) -> float:
    low, high = getattr(config.bounds, name)
    return bin_width(low, high, config.vocabulary)
