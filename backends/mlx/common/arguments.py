"""Numbers as users write them, on command lines and in environment variables."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """A `type` for argparse: a whole number of at least `least`, which is not negative."""

    def parse(text: str) -> int:
        # isdecimal() takes digits of every script, as int() does.
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a number of at least {least}, found {text!r}"
            )
        return int(text)

    return parse
