"""How a plan becomes actions: three heads with one surface, all in units in which every action has spread 1.

A plan is (n k d), actions are (n k a), ``known`` (n k) says which of them have a label.  ``noise`` (n z) is standard
normal noise of ``noise_width`` numbers, or None where nothing is drawn.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from real2sim.policies.imitation.config import ImitationConfig


class Regression(nn.Module):
    """The median action: least absolute error."""

    noise_width = 0

    def __init__(self, width: int, actions: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, actions)

    def loss(self, plan: Tensor, actions: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Mean absolute error, rounded near zero."""
        error = F.smooth_l1_loss(self.act(plan), actions, reduction="none", beta=0.1).mean(-1)
        return (error * known).sum() / known.sum().clamp_min(1)

    def act(self, plan: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions (n k a)."""
        actions: Tensor = self.out(torch.relu(plan))
        return actions


class Mixture(nn.Module):
    """A mixture of Gaussians over whole chunks (Bishop 1994), diagonal within each."""

    LEAST_SPREAD = 0.05

    def __init__(self, width: int, actions: int, chunk: int, components: int, temperature: float) -> None:
        super().__init__()
        self.actions, self.components, self.temperature = actions, components, temperature
        self.weights = nn.Linear(chunk * width, components)
        self.out = nn.Linear(width, 2 * components * actions)
        # Two uniform numbers' worth of noise: which component, and where in it.
        self.noise_width = components + chunk * actions

    def _parts(self, plan: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (n m), means and spreads (n m k a)."""
        plan = torch.relu(plan)
        both = self.out(plan).unflatten(-1, (2, self.components, self.actions)).permute(2, 0, 3, 1, 4)
        spread = self.LEAST_SPREAD + F.softplus(both[1])
        return self.weights(plan.flatten(1)).log_softmax(-1), both[0], spread

    def loss(self, plan: Tensor, actions: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Negative log likelihood per number."""
        logits, means, spreads = self._parts(plan)
        distance = (actions[:, None] - means) / spreads
        each = -0.5 * distance.square() - spreads.log() - 0.5 * math.log(2 * math.pi)
        likelihood = torch.logsumexp(logits + (each.sum(-1) * known[:, None]).sum(-1), dim=1)
        return -likelihood.sum() / (known.sum().clamp_min(1) * self.actions)

    def act(self, plan: Tensor, noise: Tensor | None = None) -> Tensor:
        """The mean of the likeliest component, or a draw at the temperature."""
        logits, means, spreads = self._parts(plan)
        if noise is None:
            chosen = logits.argmax(-1)
        else:
            # Gumbel's trick with uniform numbers from normal ones.
            uniform = (0.5 * (1 + torch.erf(noise[:, : self.components] / math.sqrt(2)))).clamp(
                1e-6, 1 - 1e-6
            )
            chosen = (logits / self.temperature - (-uniform.log()).log()).argmax(-1)
        rows = torch.arange(len(plan), device=plan.device)
        actions = means[rows, chosen]
        if noise is not None:
            drawn = noise[:, self.components :].reshape(actions.shape)
            actions = actions + self.temperature * spreads[rows, chosen] * drawn
        return actions


class Diffusion(nn.Module):
    """Denoises a whole chunk (Chi et al. 2023) by deterministic DDIM steps; the network predicts the clean chunk.

    Noise levels are angles: a noisy chunk is cos(phi) x + sin(phi) noise (Salimans & Ho 2022).
    """

    def __init__(self, width: int, actions: int, chunk: int, steps: int, temperature: float) -> None:
        super().__init__()
        self.actions, self.chunk, self.steps, self.temperature = actions, chunk, steps, temperature
        self.noise_width = chunk * actions
        hidden = 2 * width
        self.inner = nn.Linear(chunk * (actions + width) + 2, hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, chunk * actions)

    def clean(self, plan: Tensor, noisy: Tensor, angle: Tensor) -> Tensor:
        """The clean chunk (n k a) that is predicted for a noisy one at angles (n 1)."""
        entrance = [torch.relu(plan).flatten(1), noisy.flatten(1), angle.cos(), angle.sin()]
        x = F.silu(self.inner(torch.cat(entrance, dim=1)))
        x = x + F.silu(self.middle(x))
        chunk: Tensor = self.out(x).unflatten(1, (self.chunk, self.actions))
        return chunk

    def loss(self, plan: Tensor, actions: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Squared error of the clean chunk at a uniform random angle."""
        angle = torch.rand(len(plan), 1, generator=rng).to(plan.device) * math.pi / 2
        noise = torch.randn(actions.shape, generator=rng).to(plan.device)
        noisy = angle.cos()[..., None] * actions + angle.sin()[..., None] * noise
        error = (self.clean(plan, noisy, angle) - actions).square().mean(-1)
        return (error * known).sum() / known.sum().clamp_min(1)

    def act(self, plan: Tensor, noise: Tensor | None = None) -> Tensor:
        """A chunk denoised from noise at the temperature, or from zero."""
        x = plan.new_zeros(len(plan), self.chunk, self.actions)
        if noise is not None:
            x = self.temperature * noise.unflatten(1, (self.chunk, self.actions))
        angles = torch.linspace(math.pi / 2, 0, self.steps + 1, device=plan.device)
        for now, after in itertools.pairwise(angles):
            clean = self.clean(plan, x, now.expand(len(plan), 1))
            x = after.cos() * clean + after.sin() * (x - now.cos() * clean) / now.sin()
        return x


def make_head(config: ImitationConfig) -> Regression | Mixture | Diffusion:
    """The head that a configuration asks for."""
    if config.head == "regression":
        return Regression(config.width, config.actions)
    if config.head == "mixture":
        return Mixture(config.width, config.actions, config.chunk, config.components, config.temperature)
    if config.head == "diffusion":
        return Diffusion(
            config.width, config.actions, config.chunk, config.diffusion_steps, config.temperature
        )
    raise ValueError(f"unknown head {config.head!r}; there are regression, mixture and diffusion")
