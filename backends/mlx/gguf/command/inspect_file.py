"""`inspect`: says what a GGUF file or an exported program holds.

    inspect FILE.gguf|FILE.pte [--tensors] [--json]

Exit status: 0; 2 on bad input, with one line on stderr; 130 when interrupted. `--json` prints one
object. Arrays in metadata are {"length", "first"}: the first 8 elements. Keys of a GGUF file:

    format      "gguf"
    version     of the format
    files       [{path, bytes}]: one, or those of a split model
    metadata    {key: value}
    types       [{type, tensors, experts, weights, bytes, bits_per_weight, fused, repack, form}]
                experts: how many of the tensors have three dimensions. fused, repack: what each
                mode does with the type: "kernel" (a Metal kernel reads the blocks), "mlx" (one of
                MLX's quantizations), "mlx_or_kernel" (that where neighbouring groups have the same
                factors, else kernel), "dense" (stays as it is) or null (not supported).
                form: MLX's quantization, {mode, bits, group: the least}, or null
    warnings    [text]: what is odd about the file and was read all the same
    tensors     with --tensors: [{name, shape, type, bytes, offset, file}], rows first

Keys of a program:

    format      "pte"
    path, bytes
    card        what the export recorded about the model, or null
    methods     [{name, delegates: [{backend, chains, instructions, constants}], operators,
                inputs, outputs, buffers}]. operators: what runs outside the delegates.
                inputs, outputs: [{dtype, shape}], a size that comes at run time being
                {min, max} (max null: no bound), or {dtype: "int", shape: null}.
                buffers: [{name, dtype, shape, bytes}], which keep their contents between calls
    constant_methods    {name: value}
    nodes       {kind: count}, over all methods
    kernels     [{name, type, operation, bias, template, grid, threadgroup, uses}]; type and
                operation are null for a kernel that is not this project's; a size that comes at
                run time is null
    constants   {count, bytes, names, alignment, groups: [{holds, type, count, bytes}], largest: the
                8 largest}, each counted once, under however many names. alignment: the largest
                power of two that divides all their offsets; from 16384 on, Apple's page, MLX takes
                them from a mapped file without a copy.
                holds: "gguf" (blocks that kernels read; type is their GGUF type), the mode of
                MLX's quantization whose quants, scales or biases it has ("affine", "mxfp4",
                "nvfp4", ...) or "dense"; type is then the dtype
    named_data  [{name, bytes}], constants left out
    tensors     with --tensors: every constant, [{name, holds, type, dtype, shape, bytes, offset}]
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from backends.mlx.common.errors import InputError
from backends.mlx.gguf.command.main import Parser, run, start, user_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run(_parser(), _inspect, arguments)


def _parser() -> Parser:
    parser = Parser(prog="inspect", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("file", type=user_path, metavar="FILE", help="a GGUF file or a .pte")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return parser


def _inspect(options: argparse.Namespace) -> int:
    describe = _reader(options.file)
    kind, description = describe(options.file, options.tensors)
    print(json.dumps(description, indent=1) if options.json else kind.text(description))
    return 0


def _reader(path: Path) -> Callable[[Path, bool], tuple[ModuleType, dict[str, Any]]]:
    """By the first bytes, as blobs have no suffix; a file of neither kind by its suffix."""
    start = b""
    # What cannot be read its reader tells in its own words, where the suffix says which that is.
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as file:
            start = file.read(8)
    for at, magic, describe in ((0, b"GGUF", _gguf), (4, b"ET", _pte)):
        if start[at : at + len(magic)] == magic:
            return describe
    if path.suffix.lower() in _BY_SUFFIX:
        return _BY_SUFFIX[path.suffix.lower()]
    if not path.is_file():
        raise InputError(f"{path}: expected a file, found none")
    raise InputError(
        f"{path}: expected a GGUF file or an exported program, found first bytes {start!r}"
    )


# The imports are here so that neither format waits for what only the other needs.
def _gguf(path: Path, with_tensors: bool) -> tuple[ModuleType, dict[str, Any]]:
    from backends.mlx.gguf.checkpoint.file import GGUFFile
    from backends.mlx.gguf.command.inspection import gguf_file

    return gguf_file, gguf_file.describe(GGUFFile(path), with_tensors)


def _pte(path: Path, with_tensors: bool) -> tuple[ModuleType, dict[str, Any]]:
    from backends.mlx.gguf.command.inspection import pte_file
    from backends.mlx.program import Program

    return pte_file, pte_file.describe(Program(path), with_tensors)


_BY_SUFFIX = {".gguf": _gguf, ".pte": _pte}

if __name__ == "__main__":
    start(main)
