"""Puts Octo behind openpi's wire, from Octo's own environment.

    pip install git+https://github.com/octo-models/octo websockets msgpack
    python octo_server.py hf://rail-berkeley/octo-base-1.5

An action is seven numbers in the units of the dataset named by --statistics: hand displacement in metres, roll, pitch
and yaw in radians, and the gripper's opening, 0 closed and 1 open.  The Google robot, from whose data
``fractal20220817_data`` comes, is told how to change its gripper, hence the default convention; for a robot that is
told where the gripper shall be, give --convention xyz-rpy-opening (docs/actions.md).

Octo sees two frames and plans four actions; the one that is sent is the mean of what the last four plans say for
this step.  Octo draws its actions from the seed of the episode.
"""

from __future__ import annotations

import argparse
from collections import deque
from typing import Any

import jax
import numpy as np
from octo.model.octo_model import OctoModel
from PIL import Image
from policy_wire import IMAGE_KEY, serve_forever

FRAMES, PLANS = 2, 4


class OctoLane:
    """One episode: the last frames, and the last plans."""

    def __init__(self, model: Any, statistics: Any) -> None:
        self._model = model
        self._mean, self._std = (np.asarray(statistics["action"][name]) for name in ("mean", "std"))
        # Numbers that the mask leaves out, such as the gripper's, were not normalised.
        mask = np.asarray(statistics["action"].get("mask", np.ones(len(self._mean), bool)))
        self._mean, self._std = np.where(mask, self._mean, 0.0), np.where(mask, self._std, 1.0)
        self._height, self._width = model.example_batch["observation"]["image_primary"].shape[2:4]
        self._frames: deque[np.ndarray] = deque(maxlen=FRAMES)
        self._plans: deque[np.ndarray] = deque(maxlen=PLANS)

    def reset(self, instruction: str, seed: int | None) -> None:
        """Begin an episode."""
        self._task = self._model.create_tasks(texts=[instruction])
        self._random = jax.random.PRNGKey((seed or 0) % 2**32)
        self._step = 0
        self._frames.clear()
        self._plans.clear()

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        """One action (1 7) for an observation with one camera."""
        image = Image.fromarray(observation[IMAGE_KEY]).resize(
            (self._width, self._height), Image.Resampling.LANCZOS
        )
        self._frames.append(np.asarray(image))
        key = jax.random.fold_in(self._random, self._step)
        self._step += 1
        inputs = {
            "image_primary": np.stack(self._frames)[None],
            "timestep_pad_mask": np.ones((1, len(self._frames)), bool),
        }
        plan = np.asarray(self._model.sample_actions(inputs, self._task, rng=key))[0]
        self._plans.append(plan * self._std + self._mean)
        # A plan made i steps ago has its i-th action for now.
        ages = range(len(self._plans) - 1, -1, -1)
        said = [plan[age] for plan, age in zip(self._plans, ages, strict=True) if age < len(plan)]
        return np.mean(said, axis=0, keepdims=True).astype(np.float32)


def main() -> None:
    """Load the policy and serve it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="folder or hub name, e.g. hf://rail-berkeley/octo-small-1.5")
    parser.add_argument("--statistics", default="fractal20220817_data", help="whose units the actions have")
    parser.add_argument("--convention", default="xyz-rpy-opening-sticky", help="what the actions mean")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    model = OctoModel.load_pretrained(options.model)
    known = model.dataset_statistics
    # A model that was fine-tuned on one dataset has that dataset's statistics without its name.
    statistics = known if "action" in known else known.get(options.statistics)
    if statistics is None:
        parser.error(f"--statistics must be one of {', '.join(known)}")
    greeting = {"stateful": True, "convention": options.convention, "policy": options.model}
    serve_forever(lambda: OctoLane(model, statistics), greeting, options.host, options.port)


if __name__ == "__main__":
    main()
