"""Rotary position embeddings, done inside attention by MLX's operator for them.

`transformers` computes cosines and sines once and rotates in every layer with seven operators
for q and as many for k. `mlx::rope` is one operator, and takes the first position as a number.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType

import torch
from executorch.backends.mlx import custom_ops as _mlx_ops  # noqa: F401  (registers mlx::rope)
from torch import nn
from transformers import PreTrainedModel


def take_over(network: PreTrainedModel) -> None:
    """Makes `network` leave q and k as they are until attention, which then calls `rotate`.

    Each attention module gets `rope_periods`, float32 (size of a head / 2,): the positions in
    which a pair of numbers turns by one radian.
    """
    rotary = network.model.rotary_emb
    layer_types = getattr(network.config, "layer_types", None)
    for index, layer in enumerate(network.model.layers):
        attention = layer.self_attn
        # Gemma's rotary embedding has an inv_freq for each type of layer.
        prefix = f"{layer_types[index]}_" if layer_types else ""
        if not hasattr(rotary, f"{prefix}inv_freq"):
            prefix = ""
        frequencies = getattr(rotary, f"{prefix}inv_freq").double()
        attention.register_buffer("rope_periods", (1 / frequencies).float(), persistent=False)
        # YaRN stretches both q and k: that scales their products twice.
        attention.scaling *= getattr(rotary, f"{prefix}attention_scaling") ** 2
    network.model.rotary_emb = _Deferred()
    _allow_deferred(sys.modules[type(network.model).__module__])


def rotate(attention: nn.Module, x: torch.Tensor, start: int) -> torch.Tensor:
    """`x` (1, heads, S, size) rotated by the angles of its S positions, `start` the first."""
    return torch.ops.mlx.rope(x, x.shape[-1], start, freqs=attention.rope_periods)


class _Deferred(nn.Module):
    """In the place of a rotary embedding: no cosines and no sines."""

    def forward(self, *_, **__) -> tuple[None, None]:
        return None, None


def _allow_deferred(modeling: ModuleType) -> None:
    """Makes the rotation of a `transformers` module leave q and k alone if there is no cosine."""
    original = modeling.apply_rotary_pos_emb
    if hasattr(original, "allows_deferred"):
        return

    @functools.wraps(original)
    def apply_rotary_pos_emb(q, k, cos, sin, *args, **kwargs):
        return (q, k) if cos is None else original(q, k, cos, sin, *args, **kwargs)

    apply_rotary_pos_emb.allows_deferred = True
    modeling.apply_rotary_pos_emb = apply_rotary_pos_emb
