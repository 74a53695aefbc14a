"""RT-1: the network, and the policy that acts with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from real2sim.actions import rt1_robot
from real2sim.checks import as_path, check_device, check_temperature
from real2sim.cuda_graphs import RecordedCalls
from real2sim.host_copies import to_device, to_host
from real2sim.model_building import build_module
from real2sim.model_folder import (
    WEIGHTS_FILE,
    read_config,
    read_tensors,
    write_folder,
)
from real2sim.policies.policy import (
    Observation,
    Requirements,
    check_instructions,
    observed_frames,
)
from real2sim.policies.rt1.config import RT1Config
from real2sim.policies.rt1.image import FilmEfficientNet, ImageTokenizer, letterbox, prepare_images
from real2sim.policies.rt1.instructions import InstructionTable
from real2sim.policies.rt1.token_learner import TokenLearner
from real2sim.policies.rt1.transformer import Transformer, attention_mask
from real2sim.robot import Robot, robot_text
from real2sim.simulation.lane_lists import check_seeds

KIND = "rt1"


class RT1(nn.Module):
    """Frames and a sentence in, logits of the action tokens out."""

    mask: Tensor

    def __init__(self, config: RT1Config, norm_momentum: float = 0.01) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = ImageTokenizer(
            FilmEfficientNet(config.stem, config.blocks, config.top, config.embedding, norm_momentum),
            config.top,
            config.token_width,
            config.embedding,
            config.feature_size if config.position_map else None,
        )
        self.token_learner = TokenLearner(config.token_width, config.token_learner_hidden, config.tokens)
        self.transformer = Transformer(
            config.token_width,
            config.history,
            config.tokens + config.action_tokens,
            config.layers,
            config.width,
            config.heads,
            config.head_width,
            config.feed_forward,
            config.vocabulary,
        )
        # Part of the published weights, without influence (see RT1Config.action_embedding).
        self.action_embedding = (
            nn.Linear(config.vocabulary, config.token_width) if config.action_embedding else None
        )
        mask = attention_mask(config.history, config.tokens, config.action_tokens)
        self.register_buffer("mask", mask, persistent=False)

    def image_tokens(self, frames: Tensor, sentences: Tensor) -> Tensor:
        """Tokens (n k c) of uint8 frames (n h w 3) and sentence embeddings (n e)."""
        if self.config.camera_size is not None:
            frames = letterbox(frames, self.config.camera_size)
        images = prepare_images(frames, self.config.image_size)
        return self.token_learner(self.tokenizer(images, sentences))

    def action_logits(self, image_tokens: Tensor) -> Tensor:
        """Logits (b t 11 v), an action per frame, from image tokens (b t k c) of up to ``history`` frames."""
        count, actions = image_tokens.shape[2], self.config.action_tokens
        # Action tokens enter as zeros: the published code multiplies their embedding by zero.
        blank = image_tokens.new_zeros(*image_tokens.shape[:2], actions, image_tokens.shape[3])
        sequence = torch.cat([image_tokens, blank], dim=2).flatten(1, 2)
        length = sequence.shape[1]
        logits = self.transformer(sequence, self.mask[:length, :length])
        # Each position predicts the token after it: the first action token is read at the last image token.
        return logits.unflatten(1, (-1, count + actions))[:, :, count - 1 : -1]

    def forward(self, frames: Tensor, sentences: Tensor) -> Tensor:
        """Logits (b t 11 v) for uint8 frames (b t h w 3) and one sentence embedding (b e) per sequence."""
        each = sentences[:, None].expand(-1, frames.shape[1], -1).flatten(0, 1)
        tokens = self.image_tokens(frames.flatten(0, 1), each)
        return self.action_logits(tokens.unflatten(0, frames.shape[:2]))


class RT1Policy:
    """Acts with an RT-1 network on a batch of lanes; the tokens of past frames are computed once.

    ``temperature``, by default that of the network's configuration: 0 takes the likeliest bin; above 0 the bin
    is drawn from the softmax at that temperature, from (seed of the lane, step), so that an episode does not
    depend on the batch it runs in.
    """

    def __init__(
        self,
        network: RT1,
        instructions: InstructionTable,
        temperature: float | None = None,
        device: str = "cpu",
    ) -> None:
        temperature = network.config.temperature if temperature is None else check_temperature(temperature)
        check_device(device)
        if instructions.width != network.config.embedding:
            raise ValueError(
                f"the instruction table has vectors of length {instructions.width}, "
                f"the network takes {network.config.embedding}"
            )
        self.network = network.to(device).eval()
        self.instructions = instructions
        self.temperature = temperature
        self._device = device
        self._looks, self._decides = RecordedCalls(self._looked), RecordedCalls(self._decided)
        self._next_seeds: list[int] | None = None
        self._seeds: list[int] = []
        self._sentences = torch.empty(0, network.config.embedding)
        self._history: list[Tensor] = []
        self._step = 0

    @classmethod
    def from_folder(
        cls, folder: str | Path, temperature: float | None = None, device: str = "cpu"
    ) -> RT1Policy:
        """The policy in a model folder, as `save` or ``real2sim convert rt1`` wrote it."""
        folder = as_path("a policy", folder)
        config = read_config(folder, KIND, RT1Config)
        tensors = read_tensors(folder / WEIGHTS_FILE)
        table = InstructionTable.from_tensors(tensors, str(folder / WEIGHTS_FILE))
        if table.width != config.embedding:
            raise ValueError(
                f"{folder / WEIGHTS_FILE}: instructions have vectors of length {table.width}, the network takes "
                f"{config.embedding}; was the table written for another configuration?"
            )
        network = build_module(lambda: RT1(config), tensors, str(folder / WEIGHTS_FILE))
        return cls(network, table, temperature, device)

    @property
    def requires(self) -> Requirements:
        """The action layout that its tokens stand for."""
        return Requirements(action=self.network.config.action or rt1_robot().action)

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
        self._history = []
        self._step = 0

    @torch.inference_mode()
    def act(self, observation: Observation) -> np.ndarray:
        """Actions float32 (lanes n), or (lanes K n) for K actions per frame, for the canvas."""
        config, frames = self.network.config, observed_frames(observation, len(self._sentences))
        self._history += self._looks(to_device(frames, self._device), self._sentences)
        # The first frames fill the slots from the left; a full window then moves on by one.
        self._history = self._history[-config.history :]
        (logits,) = to_host(*self._decides(torch.stack(self._history, dim=1)))
        if not np.isfinite(logits).all():
            raise ValueError(
                "the network answers NaN or infinity; its weights are too large or damaged, copy or train the "
                "policy again"
            )
        tokens = self._choose(logits)
        self._step += 1
        return config.actions_of(tokens)

    def _looked(self, images: Tensor, sentences: Tensor) -> tuple[Tensor, ...]:
        return (self.network.image_tokens(images, sentences),)

    def _decided(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return (self.network.action_logits(tokens)[:, -1],)

    def _choose(self, logits: np.ndarray) -> np.ndarray:
        """Tokens (b 11) from logits (b 11 v)."""
        if self.temperature == 0:
            return logits.argmax(axis=-1)
        # Gumbel's trick: the largest of (logit / temperature + noise) is a draw from the softmax.
        noise = [
            np.random.default_rng([seed, self._step]).gumbel(size=logits.shape[1:]) for seed in self._seeds
        ]
        choice: np.ndarray = (logits.astype(np.float64) / self.temperature + np.stack(noise)).argmax(axis=-1)
        return choice


def save_rt1(
    folder: Path,
    network: RT1,
    instructions: InstructionTable,
    card: str,
    *,
    half: bool = False,
    robot: Robot | None = None,
) -> None:
    """Write network, instruction table and, where it is known, the robot as one model folder; ``half`` stores
    float16."""
    tensors: Mapping[str, Tensor] = network.state_dict() | instructions.tensors()
    write_folder(folder, KIND, network.config, tensors, card, half=half, texts=robot_text(robot))
