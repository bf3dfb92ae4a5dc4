"""Lists every kernel that is built: one unit is one complete text that MLX compiles.

python -m backends.mlx.gguf.kernels.units > units.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from backends.mlx.gguf.formats import FORMATS, BlockFormat
from backends.mlx.gguf.kernels import dispatch, library

# MLX passes an input of fewer than 8 elements in the constant address space, which only
# a bias and indices can be: a row of x has at least 32 elements, a block 16 bytes.
_SMALL_AND_LARGE = (5, 16)


def units() -> list[dict]:
    """The units, in the form that `tools.metal.load_units` reads."""
    found = []
    for fmt in FORMATS.values():
        for operation in dispatch.LINEAR:
            found += _linear_units(fmt, operation)
        found += _gather_units(fmt)
    return found


def _linear_units(fmt: BlockFormat, operation: str) -> Iterator[dict]:
    rows = next(first for name, first, _ in dispatch.row_ranges(fmt) if name == operation)
    for dtype in library.FLOATS:
        x = ["x", dtype, [rows, fmt.block_weights]]
        for bias_dtype in dict.fromkeys((None, dtype, "float32")):
            kernel = library.linear(fmt, operation, dtype, dtype, bias_dtype)
            for outputs in _SMALL_AND_LARGE if bias_dtype else _SMALL_AND_LARGE[-1:]:
                inputs = [x, ["weight", "uint8", [outputs, fmt.block_bytes]]]
                if bias_dtype:
                    inputs.append(["bias", bias_dtype, [outputs]])
                yield _unit(kernel, inputs, dtype)


def _gather_units(fmt: BlockFormat) -> Iterator[dict]:
    for dtype in library.FLOATS:
        for index_dtype in library.INDICES:
            kernel = library.gather(fmt, dtype, index_dtype)
            for count in _SMALL_AND_LARGE:
                weight = ["weight", "uint8", [16, fmt.block_bytes]]
                yield _unit(kernel, [weight, ["indices", index_dtype, [count]]], dtype)


def _unit(kernel: library.Kernel, inputs: list, out_dtype: str) -> dict:
    return {
        "name": kernel.name,
        "headers": list(kernel.headers),
        "source": kernel.body,
        "inputs": inputs,
        "outputs": [["out", out_dtype]],
        "template": [list(argument) for argument in kernel.template],
    }


if __name__ == "__main__":
    print(json.dumps({"units": units()}, indent=1))
