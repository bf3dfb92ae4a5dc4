"""Numbers as users write them, on command lines and in environment variables."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """A `type` for argparse: a whole number from `least`, 0 or more, to `most`, None for no end."""
    expected = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        # isdecimal() takes digits of every script, as int() does.
        if not text.isdecimal() or int(text) < least or most is not None and int(text) > most:
            raise argparse.ArgumentTypeError(f"expected a number {expected}, found {text!r}")
        return int(text)

    return parse
