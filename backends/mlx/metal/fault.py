"""Faults the checker finds, told in terms of the kernel's source."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from backends.mlx.common.errors import InputError
from backends.mlx.metal.text.unit import Unit


class KernelError(InputError):
    """A kernel could not run to its end even unchecked: a deadlock, or a limit of Metal."""


class CheckError(RuntimeError):
    """A kernel did what Metal leaves undefined.

    kernel: the function's name; kind: "out-of-bounds", "data-race", "uninitialised",
    "misaligned", "input-write", "divergence", "deadlock", "limit" or "unwritten"; line: in
    `Unit.text`, from 1, or None where the fault is not at one place; source: that line;
    other_line: of the access or barrier it conflicts with, or None; thread: index in its
    threadgroup, or None; thread_position, threadgroup: three numbers each; buffer, offset: the
    memory and the byte in it, "" and 0 where none is concerned.
    """

    def __init__(self, message: str, **fields):
        super().__init__(message)
        self.kernel: str = fields["kernel"]
        self.kind: str = fields["kind"]
        self.line: int | None = fields["line"]
        self.source: str = fields["source"]
        self.other_line: int | None = fields["other_line"]
        self.thread: int | None = fields["thread"]
        self.thread_position: tuple[int, int, int] | None = fields["thread_position"]
        self.threadgroup: tuple[int, int, int] | None = fields["threadgroup"]
        self.buffer: str = fields["buffer"]
        self.offset: int = fields["offset"]


def describe(unit: Unit, library: Path, fault) -> CheckError:
    """The error for a runtime.Fault that `library` reported."""
    lines = unit.text.splitlines()
    line = source_line(unit, library, fault.place)
    other_line = source_line(unit, library, fault.other_place)
    source = lines[line - 1].strip() if line else ""
    kind = fault.kind.decode()
    message = f"{unit.function}: {kind}: {fault.text.decode()}"
    if line:
        message += f"; line {line}: `{source}`"
    if other_line:
        message += f"; the other at line {other_line}: `{lines[other_line - 1].strip()}`"
    thread = position = threadgroup = None
    if fault.has_thread:
        thread = fault.thread
        position = tuple(fault.thread_position)
        threadgroup = tuple(fault.threadgroup)
        message += f"; thread {thread} at {position} of threadgroup {threadgroup}"
    return CheckError(
        message,
        kernel=unit.function,
        kind=kind,
        line=line,
        source=source,
        other_line=other_line,
        thread=thread,
        thread_position=position,
        threadgroup=threadgroup,
        buffer=fault.buffer.decode(),
        offset=fault.offset,
    )


def source_line(unit: Unit, library: Path, return_address: int) -> int | None:
    """The line of `unit.text` that a return address (an offset in `library`) belongs to.

    The innermost line of the unit's own text: code of the shim counts as the line that calls it.
    None without debug information, without addr2line (binutils), or for address 0.
    """
    addr2line = shutil.which("addr2line")
    if not return_address or addr2line is None:
        return None
    # The call is before the address it returns to.
    command = [addr2line, "-i", "-e", str(library), hex(return_address - 1)]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    pattern = re.compile(rf"(?:^|/){re.escape(unit.function)}\.metal:(\d+)", re.MULTILINE)
    match = pattern.search(output)
    return int(match.group(1)) if match else None
