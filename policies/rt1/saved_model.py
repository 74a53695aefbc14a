"""RT-1 as published: a SavedModel that tf_agents exported, run by a current TensorFlow without tf_agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from real2sim.actions import FIELDS, pack
from real2sim.checks import check_finite
from real2sim.policies.policy import Observation, observed_frames
from real2sim.policies.rt1.action_tokens import without_small_grips
from real2sim.policies.rt1.instructions import InstructionTable

IMAGE = "0/observation/image"
SENTENCE = "0/observation/natural_language_embedding"
STEP_TYPE, MID = "0/step_type", 1
"""tf_agents resets the state of an episode whose step is the first one (0); a middle one keeps what we hand back."""
STATE_IN, STATE_OUT = "1/", "state/"
GRIPPER_DEAD_ZONE = 0.01
"""Published policies are run with gripper commands below this set to 0 (SIMPLER, Google robot)."""
EMBEDDINGS_FILE = "embeddings.npz"
"""One sentence embedding per instruction, where it lies beside the model."""


class SavedModelRT1:
    """Acts with the signatures ``get_initial_state`` and ``action`` of a SavedModel.

    Whatever state the model has is handed back to it unseen, so that checkpoints that keep images and those that
    keep image tokens both work.  The graph takes one episode at a time: lanes are computed one after the other.
    Observations other than image and sentence are zero; the network does not read them.  Each step is called a
    middle one, as the state of a new episode comes from ``get_initial_state``.

    ``instructions`` are sentence embeddings by instruction, or an npz file with them, as ``real2sim convert
    embeddings`` writes it; without them ``embeddings.npz`` in the model's folder is read.

    Gripper commands below ``gripper_dead_zone`` become 0, as on the Google robot; 0 hands on every command, which
    the convention ``rt1-widowx`` needs.
    """

    def __init__(
        self,
        path: str | Path,
        instructions: Mapping[str, np.ndarray] | str | Path | None = None,
        gripper_dead_zone: float = GRIPPER_DEAD_ZONE,
    ) -> None:
        self._dead_zone = check_finite("gripper_dead_zone", gripper_dead_zone, 0, 1)
        tf = import_tensorflow()
        path = Path(path)
        if not (path / "saved_model.pb").is_file():
            raise FileNotFoundError(f"{path} holds no saved_model.pb; expected the folder of a SavedModel")
        self._tf = tf
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            # The plain loader would need TensorFlow Probability: tf_agents stores distributions beside the policy.
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        signatures = loaded.signature_def
        for name in ("action", "get_initial_state"):
            if name not in signatures:
                raise ValueError(
                    f"{path} has no signature {name!r} but {', '.join(sorted(signatures)) or 'none'}; "
                    "was it exported by tf_agents' PolicySaver?"
                )
        self._action, self._initial = signatures["action"], signatures["get_initial_state"]
        for name in (IMAGE, SENTENCE):
            if name not in self._action.inputs:
                raise ValueError(
                    f"the signature 'action' of {path} has no input {name!r}; is it an RT-1 policy?"
                )
        height, width = (dim.size for dim in self._action.inputs[IMAGE].tensor_shape.dim[1:3])
        self.image_size = (height, width)
        self.instructions = _table(instructions, path, self._action.inputs[SENTENCE].tensor_shape.dim[1].size)
        self._sentences: list[np.ndarray] = []
        self._states: list[dict[str, np.ndarray]] = []

    def reset(self, instructions: Sequence[str]) -> None:
        """One fresh state per instruction."""
        self._sentences = [self.instructions[instruction] for instruction in instructions]
        self._states = [self._initial_state() for _ in instructions]

    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes 13) for the canvas."""
        images = self._fit(observed_frames(observation, len(self._states)))
        actions = [self._act(lane, image) for lane, image in enumerate(images)]
        return without_small_grips(np.stack(actions), self._dead_zone)

    def close(self) -> None:
        """Free the session."""
        self._session.close()

    def _act(self, lane: int, image: np.ndarray) -> np.ndarray:
        feed: dict[str, np.ndarray] = {}
        for name, info in self._action.inputs.items():
            if name == IMAGE:
                value = image[None]
            elif name == SENTENCE:
                value = self._sentences[lane][None]
            elif name == STEP_TYPE:
                value = np.array([MID], np.int32)
            elif name.startswith(STATE_IN):
                value = self._states[lane][name.removeprefix(STATE_IN)]
            else:
                value = self._zeros(info)
            feed[info.name] = value
        outputs = self._session.run({name: info.name for name, info in self._action.outputs.items()}, feed)
        self._states[lane] = {
            name.removeprefix(STATE_OUT): value
            for name, value in outputs.items()
            if name.startswith(STATE_OUT)
        }
        return pack({name: np.asarray(outputs[f"action/{name}"][0], np.float32) for name in FIELDS})

    def _initial_state(self) -> dict[str, np.ndarray]:
        feed = {info.name: np.array(1, np.int32) for info in self._initial.inputs.values()}
        state: dict[str, np.ndarray] = self._session.run(
            {name: info.name for name, info in self._initial.outputs.items()}, feed
        )
        return state

    def _zeros(self, info: Any) -> np.ndarray:
        shape = [1 if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
        dtype = self._tf.dtypes.as_dtype(info.dtype)
        if dtype == self._tf.string:
            return np.full(shape, b"", dtype=object)
        return np.zeros(shape, dtype.as_numpy_dtype)

    def _fit(self, frames: np.ndarray) -> np.ndarray:
        """Frames as the network was shown them in training: aspect kept, black bars, fractions cut off."""
        if frames.shape[1:3] == self.image_size:
            return frames
        resized = self._tf.image.resize_with_pad(frames, *self.image_size)
        images: np.ndarray = self._tf.cast(resized, self._tf.uint8).numpy()
        return images


def _table(given: Mapping[str, np.ndarray] | str | Path | None, folder: Path, width: int) -> InstructionTable:
    if isinstance(given, Mapping):
        return InstructionTable(given, width)
    file = folder / EMBEDDINGS_FILE if given is None else Path(given)
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing; RT-1 needs a sentence embedding for each instruction, collect them with "
            f"real2sim convert embeddings DATASET --out {file}"
        )
    return InstructionTable.from_npz(file, width)


def import_tensorflow() -> Any:
    """TensorFlow, or an ImportError that names the extra."""
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError(
            "reading TensorFlow files needs the extra 'tf': pip install 'real2sim[tf]'"
        ) from error
    return tensorflow
