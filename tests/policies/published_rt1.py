"""Makes SavedModels with the signatures of the published RT-1 policies, from a plain `tf.Module`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from real2sim.actions import FIELDS

DATA = Path(__file__).parents[1] / "data/rt1"
STATES: dict[str, dict[str, tuple[type, list[int]]]] = {
    "images": {
        "action_tokens": (np.int32, [6, 11, 1, 1]),
        "image": (np.uint8, [6, 256, 320, 3]),
        "step_num": (np.int32, [1, 1, 1, 1]),
        "t": (np.int32, [1, 1, 1, 1]),
    },
    "tokens": {
        "action_tokens": (np.int32, [6, 11, 1, 1]),
        "context_image_tokens": (np.float32, [6, 8, 1, 512]),
        "seq_idx": (np.int32, [1, 1, 1, 1]),
    },
}
"""The state of the published checkpoints, and that of the published source code."""
UNKNOWN_TYPE = "elsewhere.Unknown"


def recorded() -> dict[str, np.ndarray]:
    """Actions (8 width) of a rollout, by field."""
    golden = load_file(DATA / "tiny_rollout.safetensors")
    return {name: golden[f"a/action/{name}"] for name in FIELDS}


def write_saved_model(
    folder: Path, layout: str, actions: dict[str, np.ndarray], foreign_type: bool = False, probe: bool = False
) -> None:
    """A SavedModel that plays recorded actions and keeps count in its state.

    With ``probe`` three fields tell instead what the graph was given: the brightness of the picture, how far the
    state that came back is from the one that went out, and the first numbers of the sentence.  With
    ``foreign_type`` a function beside the policy gives a type that no TensorFlow knows, as tf_agents'
    ``distribution`` does.
    """
    import tensorflow as tf

    clock = "t" if layout == "images" else "seq_idx"
    spec: Any = tf.TensorSpec
    inputs = {
        "0/observation/image": spec([None, 256, 320, 3], tf.uint8),
        "0/observation/natural_language_embedding": spec([None, 512], tf.float32),
        "0/observation/natural_language_instruction": spec([None], tf.string),
        "0/observation/workspace_bounds": spec([None, 3, 3], tf.float32),
        "0/step_type": spec([None], tf.int32),
    }
    inputs |= {f"1/{name}": spec([None, *shape], kind) for name, (kind, shape) in STATES[layout].items()}

    def begin(batch_size: Any) -> dict[str, Any]:
        return {
            name: tf.zeros(tf.concat([[batch_size], shape], 0), kind)
            for name, (kind, shape) in STATES[layout].items()
        }

    def act(*values: Any) -> dict[str, Any]:
        given = dict(zip(inputs, values, strict=True))
        # Public code reshapes like this: the graph takes one episode.
        time = tf.reshape(given[f"1/{clock}"], [1])
        # tf_agents begins anew at a step that is called the first one.
        time = tf.where(given["0/step_type"] == 0, 0, time)
        outputs = {f"action/{name}": tf.gather(tf.constant(rows), time) for name, rows in actions.items()}
        if probe:
            lost = tf.reduce_sum(tf.abs(given["1/action_tokens"][:, 0, :, 0, 0] - time[:, None]), axis=1)
            image = tf.cast(given["0/observation/image"], tf.float32)
            outputs |= {
                "action/gripper_closedness_action": tf.reduce_mean(image, axis=[1, 2, 3])[:, None],
                "action/base_displacement_vertical_rotation": tf.cast(lost, tf.float32)[:, None],
                "action/rotation_delta": given["0/observation/natural_language_embedding"][:, :3],
            }
        outputs |= {f"state/{name}": tf.identity(given[f"1/{name}"]) for name in STATES[layout]}
        outputs[f"state/{clock}"] = tf.reshape(time + 1, tf.shape(given[f"1/{clock}"]))
        outputs["state/action_tokens"] += 1
        return outputs

    module = tf.Module()
    if foreign_type:
        module.distribution = tf.function(_strange_type(), input_signature=[spec([], tf.float32)])
    signatures = {
        "action": tf.function(act).get_concrete_function(
            *(spec(kind.shape, kind.dtype, name=name) for name, kind in inputs.items())
        ),
        "get_initial_state": tf.function(begin).get_concrete_function(spec([], tf.int32, name="batch_size")),
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)
    if foreign_type:
        # In this process the type is known by now, so the file gets a name of the same length that is not.
        file = folder / "saved_model.pb"
        file.write_bytes(file.read_bytes().replace(UNKNOWN_TYPE[::-1].encode(), UNKNOWN_TYPE.encode()))


@cache
def _strange_type() -> Any:
    """A value whose type is saved by a registered name, like tensorflow_probability's distributions."""
    import tensorflow as tf
    from tensorflow.python.framework import composite_tensor, type_spec_registry

    class Strange(composite_tensor.CompositeTensor):  # type: ignore[misc]
        def __init__(self, value: Any) -> None:
            self.value = value

        @property
        def _type_spec(self) -> Any:
            return StrangeSpec()

    @type_spec_registry.register(UNKNOWN_TYPE[::-1])
    class StrangeSpec(tf.TypeSpec):  # type: ignore[misc]
        value_type = property(lambda self: Strange)
        _component_specs = tf.TensorSpec([], tf.float32)

        def _serialize(self) -> tuple[()]:
            return ()

        def _to_components(self, value: Strange) -> Any:
            return value.value

        def _from_components(self, components: Any) -> Strange:
            return Strange(components)

    return Strange
