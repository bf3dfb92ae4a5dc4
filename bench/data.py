"""What the GPU benchmark computes on, and the exact results it compares with.

A weight's rows are 64 base rows, shuffled and repeated, so that every output can be compared
without a float64 product of the whole. Copies lie at different addresses: time does not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mlx.core as mx
import numpy as np

from backends.mlx.gguf import formats
from backends.mlx.gguf.formats import testing as sample

BASE_ROWS = 64
# What is added to zero-mean activations.
KINDS = {"zero-mean": 0.0, "offset": 30.0}


@dataclass(frozen=True)
class Matrix:
    """Base rows of a weight. parts: (name, bytes array (64, row bytes)); exact: float64."""

    name: str
    parts: tuple[tuple[str, np.ndarray], ...]
    exact: np.ndarray
    reach: np.ndarray


class DataFile:
    """Arrays one after another in a file, each once."""

    def __init__(self, path: Path):
        self._file = path.open("wb")  # noqa: SIM115  (closed by __exit__)
        self._offsets: dict[bytes, tuple[int, int]] = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def add(self, array: np.ndarray) -> tuple[int, int]:
        """(offset, bytes) of the array's elements in the file."""
        content = np.ascontiguousarray(array).tobytes()
        if content not in self._offsets:
            self._file.write(bytes(-self._file.tell() % 256))
            self._offsets[content] = (self._file.tell(), len(content))
            self._file.write(content)
        return self._offsets[content]


@cache
def gguf_matrix(type_name: str, columns: int) -> Matrix:
    """Blocks of arbitrary quants and tame scales, see `formats.testing.blocks`."""
    fmt = formats.get(type_name)
    blocks = sample.blocks(fmt, BASE_ROWS, columns)
    exact = formats.dequantize(fmt, blocks).astype(np.float64)
    reach = formats.largest_magnitude(fmt, blocks).astype(np.float64)
    return Matrix("gguf", (("weight", blocks),), exact, reach)


@cache
def mlx_bits(type_name: str) -> int:
    """The bits of MLX's affine weights nearest to those of a quant of a GGUF type.

    Beside its quants, a block spends about 0.6 bits a weight on scales and offsets.
    """
    fmt = formats.get(type_name)
    quant = 8 * fmt.block_bytes / fmt.block_weights - 0.6
    return min(formats.AFFINE_BITS, key=lambda bits: abs(bits - quant))


def affine_matrix(type_name: str, columns: int, bits: int, group: int, dtype: str) -> Matrix:
    """The same weights in MLX's affine form, scales and biases in the activations' type."""
    gguf = gguf_matrix(type_name, columns)
    weights = mx.array(gguf.exact.astype(np.float32))
    packed, *factors = mx.quantize(weights, group_size=group, bits=bits)
    scales, biases = (factor.astype(getattr(mx, dtype)) for factor in factors)
    wide = (factor.astype(mx.float32) for factor in (scales, biases))
    exact = mx.dequantize(packed, *wide, group_size=group, bits=bits)
    names = ("weight", "scales", "biases")
    parts = tuple(zip(names, map(as_bytes, (packed, scales, biases)), strict=True))
    return Matrix("affine", parts, np.array(exact).astype(np.float64), gguf.reach)


def as_bytes(array: mx.array) -> np.ndarray:
    """A matrix's rows as bytes, uint8 (rows, row bytes)."""
    return np.array(mx.view(array, mx.uint8))


@cache
def activations(kind: str, rows: int, columns: int, dtype: str) -> mx.array:
    values = np.random.default_rng((columns, 7)).standard_normal((rows, columns), np.float32)
    return mx.array(values + KINDS[kind]).astype(getattr(mx, dtype))


def exact_results(matrix: Matrix, x: mx.array, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """float64 (rows of x, 64): exact products and the largest errors that the rule allows."""
    x64 = np.array(x.astype(mx.float32)).astype(np.float64)
    exact = x64 @ matrix.exact.T
    return exact, formats.linear_bound(x64, matrix.reach, exact, dtype)
