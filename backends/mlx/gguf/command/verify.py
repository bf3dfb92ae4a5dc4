"""`verify`: exports every supported tensor of a GGUF file, runs it, compares it with the truth.

    verify [FILE.gguf] [--types Q4_K,Q6_K] [--tensors GLOB] [--m 1,5,33] [--dtype float32]

Tensors of three dimensions are verified as the matrices of experts: every row of x times each.
Without a file it takes Gemma 3 270M, for its four quantized types. Exit status: 0 if every result
is within its bound (`report.py`); 1 if one is not; 2 on bad input, with one line on stderr; 130
when interrupted.
"""

from __future__ import annotations

import argparse
import fnmatch
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from backends.mlx.common.arguments import at_least
from backends.mlx.common.dtypes import FLOATS
from backends.mlx.common.errors import InputError
from backends.mlx.gguf import formats
from backends.mlx.gguf.checkpoint import packaged
from backends.mlx.gguf.checkpoint.file import GGUFFile, GGUFTensorInfo
from backends.mlx.gguf.command.main import Parser, quiet_libraries, run, start, user_path
from backends.mlx.gguf.command.verification import report

_MAX_ROWS = 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run(_parser(), _verify, arguments)


def _verify(options: argparse.Namespace) -> int:
    path = options.file or packaged.gemma3()
    supported, unsupported = _select(GGUFFile(path), options)
    print(
        f"{path}: {len(supported)} tensors to verify, {options.dtype}, M = "
        f"{', '.join(map(str, options.m))}",
        flush=True,
    )
    reports = _reports(supported, options)
    print()
    print(report.type_table(reports))
    if unsupported:
        print()
        print(report.unsupported_table(unsupported))
    wrong = [result.info.name for result in reports if not result.passed]
    if wrong:
        print(
            f"verify: {len(wrong)} of {len(reports)} tensors are wrong: {', '.join(wrong)}",
            file=sys.stderr,
        )
    return 1 if wrong else 0


def _parser() -> Parser:
    parser = Parser(prog="verify", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "file",
        nargs="?",
        type=user_path,
        metavar="FILE.gguf",
        help="default: Gemma 3 270M Q4_K_M, from its PyPI packages",
    )
    parser.add_argument(
        "--types",
        type=_types,
        default=tuple(formats.FORMATS),
        metavar="NAME,...",
        help="default: every supported type",
    )
    parser.add_argument("--tensors", default="*", metavar="GLOB", help="names to verify")
    parser.add_argument(
        "--m",
        type=_rows,
        default=(1, 5, 33),
        metavar="M,...",
        help="numbers of rows of x (default: 1,5,33)",
    )
    parser.add_argument(
        "--dtype",
        choices=FLOATS,
        default="float32",
        help="type of x and of the outputs (default: float32)",
    )
    return parser


def _types(text: str) -> tuple[str, ...]:
    try:
        return tuple(formats.get(name.strip()).name for name in text.split(","))
    except formats.UnsupportedTypeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _rows(text: str) -> tuple[int, ...]:
    count = at_least(1, _MAX_ROWS)
    try:
        return tuple(count(number.strip()) for number in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected numbers of 1 to {_MAX_ROWS}, such as 1,5,33, found {text!r}"
        ) from None


def _select(
    file: GGUFFile, options: argparse.Namespace
) -> tuple[list[GGUFTensorInfo], list[GGUFTensorInfo]]:
    """The tensors to verify, and those that match the glob but whose type has no format yet."""
    matching = [
        info for name, info in file.tensors.items() if fnmatch.fnmatchcase(name, options.tensors)
    ]
    if not matching:
        raise InputError(
            f"{file.path}: expected tensors that match {options.tensors!r}, "
            f"found none of {len(file.tensors)}"
        )
    supported = [info for info in matching if info.ggml_type in options.types]
    if not supported:
        found = ", ".join(sorted({info.ggml_type for info in matching}))
        raise InputError(
            f"{file.path}: expected tensors of type {', '.join(options.types)}, found only {found}"
        )
    return supported, [info for info in matching if info.ggml_type not in formats.FORMATS]


@quiet_libraries(logging.WARNING)
def _reports(infos: list[GGUFTensorInfo], options: argparse.Namespace) -> list[report.TensorReport]:
    # Imported here, as torch and ExecuTorch take seconds that bad input need not wait for.
    from backends.mlx.gguf.command.verification.probe import Probe, measure
    from backends.mlx.gguf.lowering import Mode

    reports = []
    with (
        tempfile.TemporaryDirectory(prefix="mlx_gguf_verify.") as folder,
        tqdm(infos, unit="tensor", disable=not sys.stderr.isatty()) as progress,
    ):
        path = Path(folder) / "tensor.pte"
        for info in progress:
            start = time.monotonic()
            experts = info.shape[0] if len(info.shape) == 3 else None
            probe = Probe(
                formats.get(info.ggml_type), info.blocks(), options.m, options.dtype, experts
            )
            fused = measure(probe, Mode.FUSED, path)
            repack = measure(probe, Mode.REPACK, path)
            result = report.TensorReport(info, fused, repack, time.monotonic() - start)
            progress.write(result.line(), file=sys.stdout)
            sys.stdout.flush()
            reports.append(result)
    return reports


if __name__ == "__main__":
    start(main)
