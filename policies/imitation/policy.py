"""Acting with an imitation policy on a batch of lanes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from real2sim.checks import as_path
from real2sim.cuda_graphs import RecordedCalls
from real2sim.host_copies import to_device, to_host
from real2sim.model_building import build_module
from real2sim.model_folder import WEIGHTS_FILE, read_config, read_tensors, write_folder
from real2sim.policies.imitation.config import ImitationConfig
from real2sim.policies.imitation.network import ImitationNetwork
from real2sim.policies.policy import Observation, check_instructions, observed_frames
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.simulation.lane_lists import check_seeds

KIND = "imitation"


class ImitationPolicy:
    """Acts with an `ImitationNetwork`; what it remembers of each lane is kept between steps.

    A head that draws takes its noise from (seed of the lane, step), so that an episode does not depend on the batch it
    runs in.
    """

    def __init__(
        self, network: ImitationNetwork, instructions: InstructionTable, device: str = "cpu"
    ) -> None:
        if instructions.width != network.config.embedding:
            raise ValueError(
                f"the instruction table has vectors of length {instructions.width}, "
                f"the network takes {network.config.embedding}"
            )
        self.network = network.to(device).eval()
        self.instructions = instructions
        self._device = device
        self._looks = RecordedCalls(self._looked)
        self._plans, self._acts = RecordedCalls(self._planned), RecordedCalls(self._acted)
        self._next_seeds: list[int] | None = None
        self._seeds: list[int] = []
        self._sentences = torch.empty(0, network.config.embedding)
        self._seen: list[Tensor] = []
        self._hidden: list[Tensor] = []
        self._queue: list[np.ndarray] = []
        self._step = 0

    @classmethod
    def from_folder(cls, folder: str | Path, device: str = "cpu") -> ImitationPolicy:
        """The policy in a model folder, as `save_imitation` wrote it."""
        folder = as_path("a policy", folder)
        config = read_config(folder, KIND, ImitationConfig)
        tensors = read_tensors(folder / WEIGHTS_FILE)
        table = InstructionTable.from_tensors(tensors, str(folder / WEIGHTS_FILE))
        network = build_module(lambda: ImitationNetwork(config), tensors, str(folder / WEIGHTS_FILE))
        return cls(network, table, device)

    def seed(self, seeds: Sequence[int]) -> None:
        """One seed per lane for the episodes that the next `reset` begins; only a temperature needs them."""
        self._next_seeds = check_seeds(seeds)

    def reset(self, instructions: Sequence[str]) -> None:
        """Forget the past; a ValueError lists the nearest known instructions if one is unknown."""
        instructions = check_instructions(instructions)
        self._seeds = list(range(len(instructions))) if self._next_seeds is None else self._next_seeds
        if len(self._seeds) != len(instructions):
            raise ValueError(f"{len(self._seeds)} seeds for {len(instructions)} instructions; give one each")
        self._next_seeds = None
        vectors = np.stack([self.instructions[instruction] for instruction in instructions])
        self._sentences = to_device(vectors, self._device)
        self._seen, self._hidden, self._queue, self._step = [], [], [], 0

    @torch.inference_mode()
    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes n), or (lanes K n) for a robot that takes K per frame."""
        config, lanes = self.network.config, len(self._sentences)
        frames, state = observed_frames(observation, lanes), observation.state
        if frames.shape[1:3] != config.image_size:
            raise ValueError(
                f"frames have {frames.shape[1]} x {frames.shape[2]} pixels, this policy was taught on "
                f"{config.image_size[0]} x {config.image_size[1]}"
            )
        if config.state and (state is None or state.shape != (lanes, config.state)):
            found = "none" if state is None else f"shape {state.shape}"
            raise ValueError(
                f"this policy reads proprioception ({lanes}, {config.state}), it was given {found}"
            )
        if not self._queue or config.frames > 1 or config.recurrent:
            plan = self._look(frames, state)
            if not self._queue:
                (drawn,) = to_host(*self._acts(plan, *self._noise()))
                chunk = drawn[:, : config.plays].reshape(lanes, -1, config.actions_per_frame, config.actions)
                self._queue = list(chunk.swapaxes(0, 1))
        self._step += 1
        actions = self._queue.pop(0)
        return actions if config.actions_per_frame > 1 else actions[:, 0]

    def _look(self, frames: np.ndarray, state: np.ndarray | None) -> Tensor:
        """The plan (b k d) at this moment; remembers what it saw."""
        config = self.network.config
        given = [to_device(frames, self._device), self._sentences]
        if config.state:
            given.append(to_device(np.asarray(state, np.float32), self._device))
        (seen,) = self._looks(*given)
        self._seen = (self._seen or [seen] * (config.frames - 1))[-(config.frames - 1) or len(self._seen) :]
        self._seen = [*self._seen, seen]
        plan, *self._hidden = self._plans(torch.stack(self._seen, dim=1), *self._hidden)
        return plan

    def _looked(self, *given: Tensor) -> tuple[Tensor, ...]:
        return (self.network.look(*given),)

    def _planned(self, seen: Tensor, *hidden: Tensor) -> tuple[Tensor, ...]:
        """The plan at the last moment (b k d), and what a recurrent unit remembers (b r)."""
        plan, after = self.network.plans(seen, hidden[0][None] if hidden else None)
        return (plan[:, -1],) if after is None else (plan[:, -1], after[0])

    def _acted(self, plan: Tensor, *noise: Tensor) -> tuple[Tensor, ...]:
        return (self.network.act(plan, noise[0] if noise else None),)

    def _noise(self) -> tuple[Tensor, ...]:
        """What the head draws from (b z), if it draws."""
        config, width = self.network.config, self.network.head.noise_width
        if not width or config.temperature == 0:
            return ()
        rows = [np.random.default_rng([seed, self._step]).standard_normal(width) for seed in self._seeds]
        return (to_device(np.stack(rows).astype(np.float32), self._device),)


def save_imitation(
    folder: Path, network: ImitationNetwork, instructions: InstructionTable, card: str, *, half: bool = True
) -> None:
    """Write network and instruction table as one model folder; ``half`` stores float16."""
    tensors = network.state_dict() | dict(instructions.tensors())
    write_folder(folder, KIND, network.config, tensors, card, half=half)
