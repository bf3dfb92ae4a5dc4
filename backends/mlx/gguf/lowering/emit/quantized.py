"""GGUF weights in the memory layout of MLX's quantizations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from backends.mlx.gguf import formats

# Weights converted at a time: bounds the scratch memory to a few tens of MB for any tensor.
_CHUNK_WEIGHTS = 1 << 22


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight (..., rows, columns) as MLX's quantization `mode` has it, see `formats.MLXView`.

    packed: uint32 (..., rows, columns * bits / 32). scales: float32 (affine) or uint8
    (..., rows, columns / group). biases: float32 of the same shape, None but for affine.
    """

    packed: torch.Tensor
    scales: torch.Tensor
    biases: torch.Tensor | None
    group: int
    bits: int
    mode: str


def repack(fmt: formats.BlockFormat, blocks: np.ndarray) -> QuantizedWeight | None:
    """Converts uint8 (..., rows, bytes per row), None where MLX has no exact form for it."""
    rows = blocks.reshape(-1, blocks.shape[-1])
    for read in formats.VIEWS:
        found = _repack(fmt, rows, blocks.shape[:-1], read)
        if found is not None:
            return found
    return None


def _repack(
    fmt: formats.BlockFormat,
    blocks: np.ndarray,
    shape: tuple[int, ...],
    read: Callable[[formats.BlockFormat, np.ndarray], formats.MLXView | None],
) -> QuantizedWeight | None:
    """Converts uint8 (N, bytes per row) of a weight (*shape, columns), N = prod(shape)."""
    step = max(1, _CHUNK_WEIGHTS // fmt.columns(blocks.shape[1]))
    views = []
    for first in range(0, len(blocks), step):
        view = read(fmt, blocks[first : first + step])
        if view is None:
            return None
        views.append(view._replace(quants=pack(view.quants, view.bits)))
    # The chunks' factors are repeated where a chunk had wider groups than another.
    group = min(view.group for view in views)
    scales = [np.repeat(view.scales, view.group // group, axis=1) for view in views]
    biases = [
        np.repeat(view.biases, view.group // group, axis=1)
        for view in views
        if view.biases is not None
    ]

    def joined(chunks: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(chunks).reshape(*shape, -1))

    return QuantizedWeight(
        packed=joined([view.quants for view in views]),
        scales=joined(scales),
        biases=joined(biases) if biases else None,
        group=group,
        bits=views[0].bits,
        mode=views[0].mode,
    )


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
