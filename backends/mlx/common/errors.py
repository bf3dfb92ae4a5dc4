"""What every error of a user's making is, so that commands tell it from a fault of their own."""

from __future__ import annotations


class InputError(ValueError):
    """What was given, or is installed, cannot be used. The message: what, expected, found.

    Each package has its own kinds. A command prints the message on one line and exits with 2.
    """
