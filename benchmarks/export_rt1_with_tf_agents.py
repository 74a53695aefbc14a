r"""A genuine tf_agents export with RT-1's specifications, for the tests of `SavedModelRT1`.

Needs an environment of its own (Python 3.11 or older), because tf_agents stopped at TensorFlow 2.15:

    pip install tf-agents==0.19.0 tensorflow==2.15.1 tensorflow-probability==0.23.0 tf-keras==2.15.1 \
        "numpy<2" "setuptools<80"
    python benchmarks/export_rt1_with_tf_agents.py tests/data/rt1/agents_export

The policy is a toy: its actions follow from the mean colour of the frame, the sentence and the number of steps, by a
formula that the test knows.  What is genuine is all that tf_agents writes around it: signatures, flattened names, the
policy state, and the function ``distribution``, whose types no plain TensorFlow knows.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.policies import policy_saver, tf_policy
from tf_agents.specs import BoundedTensorSpec
from tf_agents.trajectories import policy_step, time_step_spec

SPEC = tf.TensorSpec
OBSERVATION = {
    "image": SPEC([256, 320, 3], tf.uint8),
    "natural_language_embedding": SPEC([512], tf.float32),
    "natural_language_instruction": SPEC([], tf.string),
    "base_pose_tool_reached": SPEC([7], tf.float32),
    "gripper_closed": SPEC([1], tf.float32),
    "gripper_closedness_commanded": SPEC([1], tf.float32),
    "height_to_bottom": SPEC([1], tf.float32),
    "orientation_box": SPEC([2, 3], tf.float32),
    "orientation_start": SPEC([4], tf.float32),
    "robot_orientation_positions_box": SPEC([3, 3], tf.float32),
    "rotation_delta_to_go": SPEC([3], tf.float32),
    "src_rotation": SPEC([4], tf.float32),
    "vector_to_go": SPEC([3], tf.float32),
    "workspace_bounds": SPEC([3, 3], tf.float32),
}
ACTION = {
    "base_displacement_vector": BoundedTensorSpec([2], tf.float32, -1.0, 1.0),
    "base_displacement_vertical_rotation": BoundedTensorSpec([1], tf.float32, -3.1415927, 3.1415927),
    "gripper_closedness_action": BoundedTensorSpec([1], tf.float32, -1.0, 1.0),
    "rotation_delta": BoundedTensorSpec([3], tf.float32, -1.5707964, 1.5707964),
    "terminate_episode": BoundedTensorSpec([3], tf.int32, 0, 1),
    "world_vector": BoundedTensorSpec([3], tf.float32, -1.0, 1.0),
}
STATE = {
    "action_tokens": SPEC([6, 11, 1, 1], tf.int32),
    "context_image_tokens": SPEC([6, 8, 1, 512], tf.float32),
    "seq_idx": SPEC([1, 1, 1, 1], tf.int32),
}


class Toy(tf_policy.TFPolicy):  # type: ignore[misc]
    """Reads image, sentence and its own count of steps."""

    def __init__(self) -> None:
        super().__init__(time_step_spec(OBSERVATION), ACTION, policy_state_spec=STATE, name="toy")
        self.gain = tf.Variable(0.5, name="gain")

    def _variables(self) -> list[tf.Variable]:
        return [self.gain]

    def _distribution(self, time_step: Any, policy_state: Any) -> policy_step.PolicyStep:
        step, state = time_step, policy_state
        colour = tf.reduce_mean(tf.cast(step.observation["image"], tf.float32), axis=[1, 2]) / 255.0
        sentence = step.observation["natural_language_embedding"]
        count = state["seq_idx"][:, 0, 0, 0, 0]
        ends = tf.cast(count >= 3, tf.int32)
        action = {
            "base_displacement_vector": colour[:, :2] * 0.0,
            "base_displacement_vertical_rotation": colour[:, :1] * 0.0,
            "gripper_closedness_action": sentence[:, :1],
            "rotation_delta": tf.reduce_mean(state["context_image_tokens"], axis=[1, 2, 3])[:, :3],
            "terminate_episode": tf.stack([ends, 1 - ends, 0 * ends], axis=1),
            "world_vector": self.gain * colour * tf.cast(count + 1, tf.float32)[:, None] / 6.0,
        }
        following = {
            "action_tokens": state["action_tokens"],
            # The mean of the tokens is the mean of the colours that were seen: it tells whether they came back.
            "context_image_tokens": state["context_image_tokens"] + tf.reduce_mean(colour) / 6.0,
            "seq_idx": tf.reshape(state["seq_idx"] + 1, [1, 1, 1, 1, 1]),
        }
        exact = tf.nest.map_structure(tfp.distributions.Deterministic, action)
        return policy_step.PolicyStep(exact, following)


if __name__ == "__main__":
    saver = policy_saver.PolicySaver(Toy(), batch_size=None)
    saver.save(str(Path(sys.argv[1])))
