"""The norm of every supported architecture, as one operator that MLX has."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, computed in float32.

    `weight` is what a GGUF file holds: for Gemma, whose checkpoints leave out the 1, with it.
    It may be float32 beside other activations: see `keep_exact`.
    """

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size), requires_grad=False)
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.weight.dtype == x.dtype:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps).to(x.dtype)


def keep_exact(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`weight` (float32) in `dtype` if that changes no number, else as it is.

    Most checkpoints were bfloat16 and lose nothing; Gemma's, with the 1 added in float32, would.
    """
    converted = weight.to(dtype)
    return converted if torch.equal(converted.float(), weight) else weight


def replace_norms(network: nn.Module) -> None:
    """Replaces the RMS norms of a `transformers` module by ours, before their values are set.

    Each architecture of `transformers` has a class of its own, which exports as five operators.
    """
    for name, module in list(network.named_modules()):
        if type(module).__name__.endswith("RMSNorm") and not isinstance(module, RMSNorm):
            eps = getattr(module, "variance_epsilon", None) or module.eps
            parent, _, child = name.rpartition(".")
            with torch.device(module.weight.device):
                replacement = RMSNorm(module.weight.shape[0], eps)
            setattr(network.get_submodule(parent), child, replacement)
