"""What all commands share: how they read their arguments, how they end, what paths mean.

A command is a module with a parser and its work:

    def main(arguments: Sequence[str] | None = None) -> int:
        return run(_parser(), _work, arguments)

    if __name__ == "__main__":
        start(main)
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from backends.mlx.common.errors import InputError
from backends.mlx.gguf.command.tables import printable

INTERRUPTED = 128 + signal.SIGINT


class Parser(argparse.ArgumentParser):
    """Raises InputError on bad arguments, where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def run(
    parser: Parser,
    work: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    """Parses `arguments`, None for the program's own, does `work` and returns the exit status.

    That is what `work` returns, 2 after an InputError, an OSError or a MemoryError, or 130 after a
    KeyboardInterrupt. Each of these is told in one line on stderr. Any other exception is a fault
    of this project and passes through. So does BrokenPipeError, for `start`.
    """
    try:
        status = work(parser.parse_args(arguments))
        # Where it fails only when Python ends, it is told in more than one line.
        print(end="", flush=True)
        return status
    except BrokenPipeError:
        raise
    except InputError as error:
        status, message = 2, str(error)
    except OSError as error:
        status, message = 2, _described(error)
    except MemoryError as error:
        status, message = 2, f"expected more memory, found {str(error) or 'none left'}"
    except KeyboardInterrupt as error:
        status, message = INTERRUPTED, ", ".join(("interrupted", *map(str, error.args)))
    # Where not even this can be written, the status says it.
    with contextlib.suppress(OSError):
        print(f"{parser.prog}: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    # What a stream cannot write was told, and is not to be tried again: neither by a command that
    # ran this one, nor by Python when it ends, which would then end with a status of its own.
    if not _flushed(sys.stdout):
        sys.stdout = _null("w")
    if not _flushed(sys.stderr):
        sys.stderr = _null("w")
    return status


def _flushed(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _described(error: OSError) -> str:
    """The file and what the system says of it, or all that the error has."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def start(main: Callable[[], int]) -> NoReturn:
    """Runs a command's `main` as a program of its own, and ends it with that exit status.

    SIGTERM, and a reader that has seen enough (`| head`), end it after it has removed what it
    keeps for the time of its work.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Of a stream that the shell closed (`>&-`), Python has None.
    sys.stdin, sys.stdout, sys.stderr = (
        sys.stdin or _null("r"),
        sys.stdout or _null("w"),
        sys.stderr or _null("w"),
    )
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character of a vocabulary must not end this.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main()
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    # What could not be written was told already, and is not to be tried again.
    with contextlib.suppress(OSError):
        sys.stdout.close()
    sys.exit(status)


def _null(mode: str) -> TextIO:
    """The null device, for the rest of the program's time."""
    return open(os.devnull, mode)  # noqa: SIM115


def user_path(text: str) -> Path:
    """A path as the user's shell meant it: `bazel run` starts programs in a folder of its own."""
    return Path(os.environ.get("BUILD_WORKING_DIRECTORY", "")) / text


@contextlib.contextmanager
def quiet_libraries(level: int) -> Iterator[None]:
    """Hides the warnings of torch and ExecuTorch about themselves, and their log up to `level`."""
    before = logging.root.manager.disable
    logging.disable(max(level, before))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
