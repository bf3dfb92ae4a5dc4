"""The one error type of the `.pte` reader, its checks and the runner."""

from __future__ import annotations

from backends.mlx.common.errors import InputError


class ProgramError(InputError):
    """A `.pte` that cannot be trusted or run, or an input that does not fit it.

    The message is one line: `path: what: expected ..., found ...`. What decodes a piece of a file
    raises it without a path; `Program` and `Runner` add it.

    Args:
      what: the part of the file that is at fault, e.g. `chain 0 instruction 3 AddNode: out`.
      expected: what it should have been.
      found: what it is.
      path: the file.
    """

    def __init__(self, what: str, expected: object, found: object, path: object = None):
        self.what, self.expected, self.found, self.path = what, expected, found, path
        where = f"{path}: " if path is not None else ""
        message = f"{where}{what}: expected {expected}, found {found}"
        super().__init__(" ".join(message.split()))

    def at(self, path: object) -> ProgramError:
        """The same error, naming `path` unless it already names a file."""
        if self.path is not None:
            return self
        return ProgramError(self.what, self.expected, self.found, path)

    def inside(self, part: str) -> ProgramError:
        """The same error, with `part` (e.g. `chain 0 instruction 3`) in front of what."""
        return ProgramError(f"{part}: {self.what}", self.expected, self.found, self.path)
