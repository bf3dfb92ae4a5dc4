"""Lists every kernel that is built: one unit is one complete text that MLX compiles.

    python -m backends.mlx.gguf.kernels.units FOLDER

writes a units file for each type into the folder: `q4_k.units.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from backends.mlx.common.dtypes import FLOATS, INDICES
from backends.mlx.gguf.formats import FORMATS, BlockFormat
from backends.mlx.gguf.kernels import dispatch
from backends.mlx.gguf.kernels.kernel import Kernel, experts, gather, linear
from backends.mlx.gguf.kernels.operations import EXPERTS, LINEAR
from backends.mlx.metal import CONSTANT_BELOW

# Elements of a bias or of indices: what has fewer than CONSTANT_BELOW lies in the constant address
# space. Other inputs never have: a row of x has at least 32 elements, a block 16 bytes.
_LARGE = (16,)
_SMALL_AND_LARGE = (5, *_LARGE)


class Built(NamedTuple):
    """A kernel that is built, for inputs (name, dtype, shape) of one kind."""

    fmt: BlockFormat
    kernel: Kernel
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    out_dtype: str


def built() -> list[Built]:
    """Every kernel that is built ahead of time, of all types.

    Of a common type: all operations, tunings, dtypes, address spaces. Of the others only as many
    as differ by more than a dtype's name; MLX and the tests compile the rest when they call it.
    """
    return [found for fmt in FORMATS.values() for found in built_of(fmt)]


def built_of(fmt: BlockFormat) -> list[Built]:
    """Those of one type."""
    found: list[Built] = []
    for operation in LINEAR:
        for least, launch in dispatch.launches(fmt, operation):
            found += _linear(fmt, operation, least, launch.m_tile)
    for operation in EXPERTS:
        for least, _ in dispatch.launches(fmt, operation):
            found += _experts(fmt, operation, least)
    found += _gather(fmt)
    return found


def is_built(fmt: BlockFormat, dtype: str, bias_dtype: str | None, outputs: int) -> bool:
    """Whether the linears of `fmt` on `dtype`, for few outputs, are built ahead of time."""
    small = bias_dtype and outputs < CONSTANT_BELOW
    return bias_dtype in bias_dtypes(fmt, dtype) and (dispatch.is_common(fmt) or not small)


def bias_dtypes(fmt: BlockFormat, dtype: str) -> tuple[str | None, ...]:
    """The types of bias that linears of `fmt` on `dtype` are built for."""
    if dispatch.is_common(fmt):
        return tuple(dict.fromkeys((None, dtype, "float32")))
    return (None, dtype) if dtype == "float32" else (None,)


def index_dtypes(fmt: BlockFormat, dtype: str) -> tuple[str, ...]:
    """The types of indices that gathers of `fmt` in `dtype` are built for."""
    if dispatch.is_common(fmt):
        return INDICES
    return ("int32",) if dtype == "float16" else ("int64",)


def has_few_indices(fmt: BlockFormat, dtype: str) -> bool:
    """Whether the gathers of `fmt` in `dtype` are built for few indices too."""
    return dispatch.is_common(fmt) or dtype == "float32"


def _linear(fmt: BlockFormat, operation: str, outputs: int, rows: int) -> Iterator[Built]:
    common = dispatch.is_common(fmt)
    # A tile for many outputs is the one for few, repeated.
    for dtype in FLOATS if common or not outputs else ("bfloat16",):
        x = ("x", dtype, (rows, fmt.block_weights))
        for bias_dtype in (None,) if outputs else bias_dtypes(fmt, dtype):
            kernel = linear(fmt, operation, dtype, dtype, outputs, bias_dtype)
            for count in _SMALL_AND_LARGE if common and bias_dtype else _LARGE:
                weight = ("weight", "uint8", (count, fmt.block_bytes))
                bias = (("bias", bias_dtype, (count,)),) if bias_dtype else ()
                yield Built(fmt, kernel, (x, weight, *bias), dtype)


def _experts(fmt: BlockFormat, operation: str, outputs: int) -> Iterator[Built]:
    weight = ("weight", "uint8", (5, 16, fmt.block_bytes))
    for dtype, indices in _indices(fmt):
        # A tile for many outputs is the one for few, repeated.
        if outputs and dtype != "bfloat16":
            continue
        kernel = experts(fmt, operation, dtype, dtype, outputs, indices[1])
        x = ("x", dtype, (*indices[2], fmt.block_weights))
        yield Built(fmt, kernel, (x, weight, indices), dtype)


def _gather(fmt: BlockFormat) -> Iterator[Built]:
    weight = ("weight", "uint8", (16, fmt.block_bytes))
    for dtype, indices in _indices(fmt):
        kernel = gather(fmt, dtype, indices[1])
        yield Built(fmt, kernel, (weight, indices), dtype)


def _indices(fmt: BlockFormat) -> Iterator[tuple[str, tuple[str, str, tuple[int, ...]]]]:
    """Dtypes, each with an input of indices."""
    for dtype in FLOATS:
        for index_dtype in index_dtypes(fmt, dtype):
            for count in _SMALL_AND_LARGE if has_few_indices(fmt, dtype) else _LARGE:
                yield dtype, ("indices", index_dtype, (count,))


def as_unit(found: Built) -> dict:
    """The entry of a units file, as `backends.mlx.metal.load_units` reads it."""
    return {
        "name": found.kernel.name,
        "headers": list(found.kernel.headers),
        "source": found.kernel.body,
        "inputs": [list(entry) for entry in found.inputs],
        "outputs": [["out", found.out_dtype]],
        "template": [list(argument) for argument in found.kernel.template],
    }


def write(folder: Path) -> None:
    """One units file for each type, as `types.bzl` names it."""
    for fmt in FORMATS.values():
        units = [as_unit(found) for found in built_of(fmt)]
        path = folder / f"{fmt.name.lower()}.units.json"
        path.write_text(json.dumps({"units": units}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
