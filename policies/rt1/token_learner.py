"""TokenLearner: a few tokens pooled from all cells of a feature map by attention (Ryoo et al. 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class TokenLearner(nn.Module):
    """Tokens (n k c) of features (n positions c): each is a weighted mean over the positions."""

    def __init__(self, width: int, hidden: int, tokens: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.hidden = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, tokens)
        # Wide enough that a fresh token already prefers some cells; equal weights would give equal means.
        nn.init.normal_(self.output.weight, std=2 * hidden**-0.5)

    def forward(self, features: Tensor) -> Tensor:
        scores = self.output(F.gelu(self.hidden(self.norm(features)), approximate="tanh"))
        # The weights come from normalised features, the mean is over the features as they are.
        return scores.softmax(dim=1).transpose(1, 2) @ features
