"""Puts a LeRobot policy (ACT, diffusion, SmolVLA, pi0 ...) behind openpi's wire, from LeRobot's own environment.

    pip install lerobot websockets msgpack
    python lerobot_server.py FOLDER --dataset path/to/dataset

The policy is shown all cameras and the state that it was trained with, by name, goes through its own pre- and
post-processors, and answers in the units of its dataset.  The greeting says what it needs and what its numbers are
called; --dataset, the folder of a LeRobot dataset, knows the names of state and action.  The policy keeps its queues
of frames and actions itself, so it is shown every frame; of a robot that takes several actions per frame it is asked
for each of them, with the same frame.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.processor.pipeline import ProcessorMigrationError
from policy_wire import OBSERVATION, STATE_KEY, serve_forever

STATE = "observation.state"
NO_CAMERA = "observation.images.empty_camera_"
"""Begins the name of an input that stands for a camera that is not there: SmolVLA and pi0 fill its place themselves and
look past it, which they do not do with a black frame."""


class LeRobotLane:
    """One episode of a policy whose weights are shared with the other lanes."""

    def __init__(
        self,
        policy: Any,
        processors: tuple[Any, Any],
        cameras: dict[str, str],
        blank: tuple[str, ...] = (),
        absent: tuple[str, ...] = (),
    ) -> None:
        shared = [*policy.parameters(), *policy.buffers()]
        self._policy = copy.deepcopy(policy, {id(tensor): tensor for tensor in shared})
        self._before, self._after = copy.deepcopy(processors)
        self._cameras, self._blank, self._unshown = cameras, blank, (*blank, *absent)

    def reset(self, instruction: str, seed: int | None) -> None:
        """Begin an episode."""
        self._instruction, self._seed, self._step = instruction, seed or 0, 0
        for part in (self._policy, self._before, self._after):
            part.reset()

    @torch.inference_mode()
    def act(self, observation: dict[str, Any]) -> np.ndarray:
        """The actions (steps width) of a frame: as many as the client asks for with ``steps``, else one."""
        batch = self._batch(observation)
        actions = []
        for _ in range(int(observation.get("steps", 1))):
            # Networks that draw noise draw it from torch's generators, whatever lane was served before.
            words = np.random.SeedSequence([self._seed, self._step]).generate_state(1)
            torch.manual_seed(int(words[0]))
            self._step += 1
            actions.append(self._after(self._policy.select_action(self._before(dict(batch)))))
        return torch.cat(actions).float().cpu().numpy()

    def _batch(self, observation: dict[str, Any]) -> dict[str, Any]:
        """What the policy's pre-processors take: images (1 3 h w) in 0..1, state (1 m), the task."""
        features = self._policy.config.input_features
        batch: dict[str, Any] = {"task": [self._instruction]}
        for camera, feature in self._cameras.items():
            if OBSERVATION + camera not in observation:
                raise ValueError(
                    f"the observation has no {OBSERVATION + camera!r}, which the policy looks at"
                )
            image = torch.from_numpy(observation[OBSERVATION + camera]).permute(2, 0, 1)[None].float() / 255
            size = tuple(features[feature].shape[1:])
            if image.shape[2:] != size:
                image = torch.nn.functional.interpolate(image, size, mode="bilinear", antialias=True)
            batch[feature] = image
        if STATE in features and STATE not in self._unshown:
            state = np.asarray(observation.get(STATE_KEY, ()), np.float32).reshape(1, -1)
            width = features[STATE].shape[0]
            if state.shape[1] != width:
                raise ValueError(f"{STATE_KEY} has {state.shape[1]} numbers, the policy reads {width}")
            batch[STATE] = torch.from_numpy(state)
        for feature in self._blank:
            batch[feature] = torch.zeros(1, *features[feature].shape)
        return batch


def flat_names(names: Any) -> list[str]:
    """The names of a vector's numbers, from any of the shapes in which datasets write them."""
    if isinstance(names, dict):
        places = all(isinstance(place, int) for place in names.values())
        names = sorted(names, key=names.__getitem__) if places else list(names.values())
    return [name for part in names for name in flat_names(part)] if isinstance(names, list) else [str(names)]


def names_of(dataset: str, feature: str, width: int) -> list[str] | None:
    """Names of a feature's numbers in ``meta/info.json``; ``feature.0`` ... where they do not fit its width."""
    info = json.loads((Path(dataset) / "meta" / "info.json").read_text())
    if feature not in info["features"]:
        return None
    names = flat_names(info["features"][feature].get("names") or [])
    return names if len(set(names)) == width else [f"{feature}.{place}" for place in range(width)]


def needs(
    config: Any, cameras: dict[str, str], unshown: tuple[str, ...], dataset: str | None
) -> dict[str, Any]:
    """What the greeting says: cameras, how many state numbers, and their and the action's names where known."""
    said: dict[str, Any] = {"stateful": True, "steps": True, "cameras": list(cameras)}
    state = config.input_features.get(STATE)
    if state is not None and STATE not in unshown:
        said["state_width"] = int(state.shape[0])
    for key, feature, shape in (
        ("state_names", STATE, state.shape if "state_width" in said else None),
        ("action_names", "action", config.output_features["action"].shape),
    ):
        found = None if dataset is None or shape is None else names_of(dataset, feature, int(shape[0]))
        if found is not None:
            said[key] = found
    return said


def load(place: str, device: str) -> tuple[Any, tuple[Any, Any]]:
    """The policy of a folder or of the Hub, ready to act, and its pre- and post-processor."""
    config = PreTrainedConfig.from_pretrained(place)
    if getattr(config, "use_peft", False):
        raise ValueError(
            "it is an adapter (use_peft); merge it into the policy it was trained on and save that"
        )
    config.device = device
    policy = get_policy_class(config.type).from_pretrained(place, config=config)
    policy.to(device).eval()
    processors = make_pre_post_processors(
        policy.config, pretrained_path=place, preprocessor_overrides={"device_processor": {"device": device}}
    )
    return policy, processors


def main() -> None:
    """Load the policy and serve it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("policy", help="folder or hub name of a pretrained policy")
    parser.add_argument(
        "--dataset", help="folder of the dataset it was trained on, for the names of its numbers"
    )
    parser.add_argument(
        "--camera", nargs="*", default=[], metavar="NAME=FEATURE", help="other names of its cameras"
    )
    parser.add_argument(
        "--blank", nargs="*", default=[], metavar="FEATURE", help="inputs that are filled with zeros"
    )
    parser.add_argument(
        "--without", nargs="*", default=[], metavar="FEATURE", help="inputs that are left out, if it allows"
    )
    parser.add_argument("--convention", default="native", help="what the actions mean")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()

    try:
        policy, processors = load(options.policy, options.device)
    except (OSError, ValueError, ProcessorMigrationError) as error:
        parser.error(f"{options.policy} is no policy that can be loaded: {' '.join(str(error).split())}")
    features, blank = policy.config.input_features, tuple(options.blank)
    renamed = dict(reversed(pair.split("=", 1)) for pair in options.camera if "=" in pair)
    empty = (name for name in features if name.startswith(NO_CAMERA) and name not in (*renamed, *blank))
    absent = (*options.without, *empty)
    shown = {name: feature for name, feature in features.items() if name not in (*blank, *absent)}
    images = [name for name, feature in shown.items() if feature.type.name == "VISUAL"]
    cameras = {
        renamed.get(name, name.removeprefix("observation.").removeprefix("images.")): name for name in images
    }
    unknown = ({*renamed, *blank, *absent} - set(features)) | (set(shown) - {*images, STATE})
    if unknown or len(renamed) < len(options.camera):
        parser.error(f"no input that can be given: {', '.join(sorted(unknown)) or options.camera}; the policy has "
                     f"{', '.join(features)}, --blank fills one with zeros, --without leaves one out")  # fmt: skip
    if not cameras:
        parser.error("the policy is shown no camera at all")
    try:
        greeting = needs(policy.config, cameras, (*blank, *absent), options.dataset)
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"--dataset {options.dataset} has no meta/info.json of a LeRobot dataset ({error})")
    greeting |= {"convention": options.convention, "policy": options.policy}
    serve_forever(
        lambda: LeRobotLane(policy, processors, cameras, blank, absent), greeting, options.host, options.port
    )


if __name__ == "__main__":
    main()
