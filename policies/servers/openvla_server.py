"""Puts OpenVLA behind openpi's wire, from OpenVLA's own environment.

    pip install torch transformers==4.40.1 tokenizers==0.19.1 timm==0.9.16 pillow websockets msgpack
    python openvla_server.py openvla/openvla-7b --trust-remote-code --device cuda

An action is seven numbers in the units of the dataset named by --unnorm-key: hand displacement in metres, roll, pitch
and yaw in radians, and the gripper's opening, 0 closed and 1 open.  The Google robot, from whose data
``fractal20220817_data`` comes, is told how to change its gripper, hence the default convention; for a robot that is
told where the gripper shall be, give --convention xyz-rpy-opening (docs/actions.md).
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from PIL import Image
from policy_wire import IMAGE_KEY, serve_forever
from transformers import AutoModelForVision2Seq, AutoProcessor


class OpenVLALane:
    """One episode; OpenVLA remembers nothing but the instruction."""

    def __init__(self, model: Any, processor: Any, unnorm_key: str) -> None:
        self._model, self._processor, self._key = model, processor, unnorm_key
        self._prompt = ""

    def reset(self, instruction: str, seed: int | None) -> None:
        """Begin an episode; decoding is greedy and needs no seed."""
        self._prompt = f"In: What action should the robot take to {instruction.lower()}?\nOut:"

    @torch.inference_mode()
    def act(self, observation: dict[str, Any]) -> np.ndarray:
        """One action (1 7) for an observation with one camera."""
        inputs = self._processor(self._prompt, Image.fromarray(observation[IMAGE_KEY]))
        inputs = inputs.to(self._model.device, dtype=self._model.dtype)
        action = self._model.predict_action(**inputs, unnorm_key=self._key, do_sample=False)
        return np.asarray(action, dtype=np.float32).reshape(1, -1)


def main() -> None:
    """Load the policy and serve it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="folder or hub name")
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run the Python code that comes with the weights; OpenVLA has no other implementation in transformers",
    )
    parser.add_argument("--unnorm-key", default="fractal20220817_data", help="whose units the actions have")
    parser.add_argument("--convention", default="xyz-rpy-opening-sticky", help="what the actions mean")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    if not options.trust_remote_code:
        parser.error(
            "OpenVLA's network is Python code that comes with its weights and would run with your rights; "
            "read it, then give --trust-remote-code"
        )
    processor = AutoProcessor.from_pretrained(options.model, trust_remote_code=True)
    model = AutoModelForVision2Seq.from_pretrained(
        options.model,
        torch_dtype=getattr(torch, options.dtype),
        low_cpu_mem_usage=True,
        trust_remote_code=True,
    )
    model.to(options.device).eval()
    known = getattr(model, "norm_stats", {})
    if options.unnorm_key not in known:
        parser.error(f"--unnorm-key must be one of {', '.join(known)}")
    greeting = {"stateful": False, "convention": options.convention, "policy": options.model}
    serve_forever(
        lambda: OpenVLALane(model, processor, options.unnorm_key), greeting, options.host, options.port
    )


if __name__ == "__main__":
    main()
