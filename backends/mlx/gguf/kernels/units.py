"""Lists every kernel that is built: one unit is one complete text that MLX compiles.

python -m backends.mlx.gguf.kernels.units > units.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from backends.mlx.gguf.formats import FORMATS, BlockFormat
from backends.mlx.gguf.kernels import dispatch, library

# MLX passes an input of fewer than 8 elements in the constant address space, which only
# a bias and indices can be: a row of x has at least 32 elements, a block 16 bytes.
_LARGE = (16,)
_SMALL_AND_LARGE = (5, *_LARGE)


class Built(NamedTuple):
    """A kernel that is built, for inputs (name, dtype, shape) of one kind."""

    fmt: BlockFormat
    kernel: library.Kernel
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    out_dtype: str


def built() -> list[Built]:
    """Every kernel that is built: all types, operations, tunings, dtypes, address spaces."""
    found = []
    for fmt in FORMATS.values():
        for operation in dispatch.LINEAR:
            for least, launch in dispatch.launches(fmt, operation):
                found += _linear(fmt, operation, least, launch.m_tile)
        found += _gather(fmt)
    return found


def _linear(fmt: BlockFormat, operation: str, outputs: int, rows: int) -> Iterator[Built]:
    for dtype in library.FLOATS:
        x = ("x", dtype, (rows, fmt.block_weights))
        for bias_dtype in dict.fromkeys((None, dtype, "float32")):
            kernel = library.linear(fmt, operation, dtype, dtype, outputs, bias_dtype)
            # A tile for many outputs never sees a small bias.
            for count in _SMALL_AND_LARGE if bias_dtype and not outputs else _LARGE:
                weight = ("weight", "uint8", (count, fmt.block_bytes))
                bias = (("bias", bias_dtype, (count,)),) if bias_dtype else ()
                yield Built(fmt, kernel, (x, weight, *bias), dtype)


def _gather(fmt: BlockFormat) -> Iterator[Built]:
    weight = ("weight", "uint8", (16, fmt.block_bytes))
    for dtype in library.FLOATS:
        for index_dtype in library.INDICES:
            kernel = library.gather(fmt, dtype, index_dtype)
            for count in _SMALL_AND_LARGE:
                yield Built(fmt, kernel, (weight, ("indices", index_dtype, (count,))), dtype)


def as_unit(found: Built) -> dict:
    """The entry of a units file, as `tools.metal.load_units` reads it."""
    return {
        "name": found.kernel.name,
        "headers": list(found.kernel.headers),
        "source": found.kernel.body,
        "inputs": [list(entry) for entry in found.inputs],
        "outputs": [["out", found.out_dtype]],
        "template": [list(argument) for argument in found.kernel.template],
    }


if __name__ == "__main__":
    print(json.dumps({"units": [as_unit(found) for found in built()]}, indent=1))
