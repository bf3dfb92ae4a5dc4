"""What the commands of this folder share: the argument parser, and paths as the user meant."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn


class InputError(ValueError):
    """A request that cannot be carried out. One line: what, expected, found."""


class Parser(argparse.ArgumentParser):
    """Raises InputError on bad arguments, where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


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
