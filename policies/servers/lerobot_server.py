"""Puts a LeRobot policy (ACT, diffusion, SmolVLA, pi0 ...) behind openpi's wire, from LeRobot's own environment.

    pip install lerobot websockets msgpack
    python lerobot_server.py lerobot/smolvla_base --camera observation.images.top

The actions are sent as the policy gives them after LeRobot's own post-processing, in the units of the dataset it
was trained on; --convention says which these are (docs/actions.md).  The policy keeps its queues of frames and
actions itself, so it is shown every frame.  Tried with ACT of LeRobot 0.4.4.
"""

from __future__ import annotations

import argparse
import copy
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from policy_wire import IMAGE_KEY, serve_forever


class LeRobotLane:
    """One episode of a policy whose weights are shared with the other lanes."""

    def __init__(self, policy: Any, processors: tuple[Any, Any], camera: str, blank: bool) -> None:
        shared = [*policy.parameters(), *policy.buffers()]
        self._policy = copy.deepcopy(policy, {id(tensor): tensor for tensor in shared})
        self._before, self._after = copy.deepcopy(processors)
        self._camera, self._blank = camera, blank

    def reset(self, instruction: str, seed: int | None) -> None:
        """Begin an episode."""
        self._instruction, self._seed, self._step = instruction, seed or 0, 0
        self._policy.reset()

    @torch.inference_mode()
    def act(self, observation: dict[str, Any]) -> np.ndarray:
        """One action (1 width) for an observation with one camera."""
        features = self._policy.config.input_features
        image = torch.from_numpy(observation[IMAGE_KEY]).permute(2, 0, 1)[None].float() / 255
        size = features[self._camera].shape[1:]
        image = torch.nn.functional.interpolate(image, size, mode="bilinear", antialias=True)
        batch: dict[str, Any] = {self._camera: image, "task": [self._instruction]}
        if self._blank:
            for name in features.keys() - batch.keys():
                batch[name] = torch.zeros(1, *features[name].shape)
        # Networks that draw noise draw it from torch's generators, whatever lane was served before.
        torch.manual_seed(int(np.random.SeedSequence([self._seed, self._step]).generate_state(1)[0]))
        self._step += 1
        action = self._after(self._policy.select_action(self._before(batch)))
        return action.float().cpu().numpy()


def main() -> None:
    """Load the policy and serve it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("policy", help="folder or hub name of a pretrained policy")
    parser.add_argument("--camera", help="which image feature gets our frames; not needed if there is one")
    parser.add_argument(
        "--blank-missing", action="store_true", help="fill other cameras and the robot's state with zeros"
    )
    parser.add_argument("--convention", default="xyz-rpy-opening", help="what the actions mean")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()

    config = PreTrainedConfig.from_pretrained(options.policy)
    config.device = options.device
    policy = get_policy_class(config.type).from_pretrained(options.policy, config=config)
    policy.to(options.device).eval()
    processors = make_pre_post_processors(
        policy.config,
        pretrained_path=options.policy,
        preprocessor_overrides={"device_processor": {"device": options.device}},
    )
    features = policy.config.input_features
    cameras = [name for name, feature in features.items() if feature.type.name == "VISUAL"]
    camera: str = options.camera or (cameras[0] if len(cameras) == 1 else "")
    if camera not in cameras:
        parser.error(f"--camera must be one of {', '.join(cameras)}")
    missing = features.keys() - {camera}
    if missing and not options.blank_missing:
        parser.error(
            f"the policy also wants {', '.join(sorted(missing))}, which a simulator of frames does not have; "
            "--blank-missing fills them with zeros, which it was hardly trained on"
        )
    greeting = {"stateful": True, "convention": options.convention, "policy": options.policy}
    serve_forever(
        lambda: LeRobotLane(policy, processors, camera, options.blank_missing),
        greeting,
        options.host,
        options.port,
    )


if __name__ == "__main__":
    main()
