"""`inspect`: says what a GGUF file or an exported program holds.

    inspect FILE.gguf|FILE.pte [--tensors] [--json]

Exit status: 0, or 2 on bad input, with one line on stderr. `--json` prints one object. Arrays in
metadata are {"length", "first"}: the first 8 elements. Keys of a GGUF file:

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
    constants   {count, bytes, names, groups: [{holds, type, count, bytes}], largest: the 8
                largest}, each counted once, under however many names.
                holds: "gguf" (blocks that kernels read; type is their GGUF type), the mode of
                MLX's quantization whose quants, scales or biases it has ("affine", "mxfp4",
                "nvfp4", ...) or "dense"; type is then the dtype
    named_data  [{name, bytes}], constants left out
    tensors     with --tensors: every constant, [{name, holds, type, dtype, shape, bytes, offset}]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from backends.mlx.gguf.checkpoint.file import GGUFError
from backends.mlx.gguf.command.command_line import InputError, Parser, user_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = Parser(prog="inspect", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("file", type=user_path, metavar="FILE", help="a .gguf or a .pte file")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    try:
        output = _output(parser.parse_args(arguments))
    except (InputError, GGUFError) as error:
        print(" ".join(f"inspect: {error}".splitlines()), file=sys.stderr)
        return 2
    print(output)
    return 0


def _output(options: argparse.Namespace) -> str:
    try:
        describe = _READERS[options.file.suffix.lower()]
    except KeyError:
        raise InputError(
            f"{options.file}: expected a file named {' or '.join(_READERS)}, "
            f"found {options.file.suffix or 'no suffix'}"
        ) from None
    module, description = describe(options.file, options.tensors)
    if options.json:
        return json.dumps(description, indent=1)
    return module.text(description)


# The imports are here so that neither format waits for what only the other needs.
def _gguf(path: Path, with_tensors: bool):
    from backends.mlx.gguf.checkpoint.file import GGUFFile
    from backends.mlx.gguf.command.inspection import gguf as inspect_gguf

    return inspect_gguf, inspect_gguf.describe(GGUFFile(path), with_tensors)


def _pte(path: Path, with_tensors: bool):
    from backends.mlx.gguf.command.inspection import pte as inspect_pte
    from backends.mlx.program import Program, ProgramError

    # Not left to open(), which waits for a pipe.
    if path.exists() and not path.is_file():
        kind = "a directory" if path.is_dir() else "another kind of file"
        raise InputError(f"{path}: file: expected a regular file, found {kind}")
    try:
        return inspect_pte, inspect_pte.describe(Program(path), with_tensors)
    except ProgramError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(
            f"{path}: file: expected a readable file, found {error.strerror}"
        ) from None


_READERS = {".gguf": _gguf, ".pte": _pte}

if __name__ == "__main__":
    # As other filters end when what reads their output has seen enough (`| head`).
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # A terminal that cannot show a character of a vocabulary must not end this.
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
