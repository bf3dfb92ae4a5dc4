"""GGUF weights in the memory layout of MLX's affine quantization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from backends.mlx.gguf import formats

# Weights converted at a time: bounds the scratch memory to a few tens of MB for any tensor.
_CHUNK_WEIGHTS = 1 << 22


@dataclass(frozen=True)
class AffineWeight:
    """`weight = scale * quant + bias` for groups of `group` columns.

    packed: uint32 (rows, columns * bits / 32). scales, biases: float32 (rows, columns / group).
    """

    packed: torch.Tensor
    scales: torch.Tensor
    biases: torch.Tensor
    group: int
    bits: int


def repack(fmt: formats.BlockFormat, blocks: np.ndarray) -> AffineWeight | None:
    """Converts uint8 (rows, bytes per row), None where MLX has no exact affine form for it."""
    columns = fmt.columns(blocks.shape[1])
    step = max(1, _CHUNK_WEIGHTS // columns)
    packed, scales, biases, groups = [], [], [], []
    for first in range(0, blocks.shape[0], step):
        view = formats.affine_view(fmt, blocks[first : first + step])
        if view is None:
            return None
        packed.append(pack(view.quants, view.bits))
        scales.append(view.scales)
        biases.append(view.biases)
        groups.append(view.group)
    group = min(groups)
    return AffineWeight(
        packed=torch.from_numpy(np.concatenate(packed)),
        scales=_joined(scales, groups, group),
        biases=_joined(biases, groups, group),
        group=group,
        bits=view.bits,
    )


def _joined(factors: list[np.ndarray], groups: list[int], group: int) -> torch.Tensor:
    """Joins the chunks' factors, repeated where a chunk had wider groups than `group`."""
    repeated = [np.repeat(f, g // group, axis=1) for f, g in zip(factors, groups, strict=True)]
    return torch.from_numpy(np.concatenate(repeated))


def pack(quants: np.ndarray, bits: int) -> np.ndarray:
    """Packs uint8 (rows, columns) values below 2**bits into uint32 (rows, columns * bits / 32).

    MLX stores a row as one stream of bits, least significant first, for every width
    (`affine_quantize` in mlx/backend/metal/kernels/quantized.h). Eight values fill `bits` bytes.
    """
    rows, columns = quants.shape
    if columns % 32:
        raise ValueError(f"packing {bits} bits: expected columns % 32 == 0, found {columns}")
    words = np.zeros((rows, columns // 8), "<u8")
    for i in range(8):
        words |= quants[:, i::8].astype("<u8") << np.uint64(bits * i)
    stream = words.view(np.uint8).reshape(rows, columns // 8, 8)[:, :, :bits]
    return np.ascontiguousarray(stream).reshape(rows, -1).view("<u4")
