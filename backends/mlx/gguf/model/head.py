"""The last matrix of a network, which gives the logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Head(nn.Module):
    """A linear in float32, whatever the activations are.

    Logits of two likely tokens often differ by less than bfloat16 can tell apart.

    forward(x): x (..., size), any float dtype. Returns float32 (..., vocabulary).
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None):
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x.float(), self.weight, self.bias)
