"""Faults the checker finds, told in terms of the kernel's source."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

from backends.mlx.common.errors import InputError
from backends.mlx.metal.text.unit import Unit


class KernelError(InputError):
    """A kernel could not run to its end even unchecked: a deadlock, or a limit of Metal."""


class Fault(ctypes.Structure):
    """struct msl_fault of host/runtime/launch.h: why a launch stopped."""

    _fields_ = [
        ("kind", ctypes.c_char_p),
        ("text", ctypes.c_char * 512),
        ("buffer", ctypes.c_char * 128),
        ("offset", ctypes.c_int64),
        ("place", ctypes.c_uint64),
        ("other_place", ctypes.c_uint64),
        ("has_thread", ctypes.c_int32),
        ("thread", ctypes.c_uint32),
        ("thread_position", ctypes.c_uint32 * 3),
        ("threadgroup", ctypes.c_uint32 * 3),
    ]


class CheckError(RuntimeError):
    """A kernel did what Metal leaves undefined.

    kernel: the function's name; kind: "out-of-bounds", "data-race", "uninitialised",
    "misaligned", "input-write", "divergence", "deadlock", "limit" or "unwritten"; line: in
    `Unit.text`, from 1, or None where the fault is not at one place; source: that line, or "";
    other_line: of the access or barrier it conflicts with, or None; thread: index in its
    threadgroup, or None; thread_position, threadgroup: three numbers each, or None; buffer,
    offset: the memory and the byte in it, "" and 0 where none is concerned. A thread's own arrays
    are "thread memory", or their type where an index is too large for it.
    """

    thread: int | None = None
    thread_position: tuple[int, int, int] | None = None
    threadgroup: tuple[int, int, int] | None = None

    def __init__(self, unit: Unit, library: Path, fault: Fault):
        """The error for a fault that a kernel of `library` stopped at."""
        lines = unit.text.splitlines()
        self.kernel = unit.function
        self.kind = fault.kind.decode()
        self.buffer = fault.buffer.decode()
        self.offset = fault.offset
        self.line = source_line(unit, library, fault.place)
        self.other_line = source_line(unit, library, fault.other_place)
        self.source = lines[self.line - 1].strip() if self.line else ""
        message = f"{self.kernel}: {self.kind}: {fault.text.decode()}"
        if self.line:
            message += f"; line {self.line}: `{self.source}`"
        if self.other_line:
            other = lines[self.other_line - 1].strip()
            message += f"; the other at line {self.other_line}: `{other}`"
        if fault.has_thread:
            self.thread = fault.thread
            self.thread_position = tuple(fault.thread_position)
            self.threadgroup = tuple(fault.threadgroup)
            message += (
                f"; thread {self.thread} at {self.thread_position} "
                f"of threadgroup {self.threadgroup}"
            )
        super().__init__(message)


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
    # Lines of the header have the name of the first unit that was compiled with it.
    match = re.search(r"\.metal:(\d+)", output)
    return int(match.group(1)) if match else None
