"""Runs a unit from a host library: buffers in, a fault or nothing out."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from pathlib import Path
from typing import Sequence

from tools.metal import compile as compile_
from tools.metal.fault import KernelError, describe
from tools.metal.host_source import entry_symbol
from tools.metal.unit import Unit

INPUT, OUTPUT, INITIALISED_OUTPUT = range(3)
_INTERFACE = 2  # msl_interface of host/runtime/launch.h
_ALL_THREADGROUPS = (0, 2**64 - 1)


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("role", ctypes.c_int32),
        ("bytes_read", ctypes.c_uint64),
    ]


class Fault(ctypes.Structure):
    """struct msl_fault of host/runtime/launch.h."""

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


@dataclasses.dataclass(frozen=True)
class Buffer:
    """Memory a kernel sees. address: of its first byte; role: INPUT, OUTPUT, ..."""

    name: str
    address: int
    size: int
    role: int


def run(
    unit: Unit,
    buffers: Sequence[Buffer],
    grid: tuple[int, int, int],
    threadgroup: tuple[int, int, int],
    checked: bool,
    threadgroups: tuple[int, int] = _ALL_THREADGROUPS,
) -> dict[str, int]:
    """Runs every thread of the grid, or only threadgroups [first, last) of it.

    The buffers are the unit's `parameters`, in order. Returns the bytes that a checked run read
    of each, every load counted; zeros after a fast run. Raises CheckError for a fault the checker
    finds, KernelError where not even a fast run can go on (deadlock, a limit of Metal).
    """
    library, entry = _entry(unit, "checked" if checked else "fast")
    array = (_Buffer * len(buffers))(
        *(_Buffer(b.address, b.size, b.name.encode(), b.role) for b in buffers)
    )
    fault = Fault()
    failed = library.handle.msl_run(
        entry,
        array,
        len(buffers),
        (ctypes.c_uint32 * 3)(*grid),
        (ctypes.c_uint32 * 3)(*threadgroup),
        compile_.max_workers(),
        *threadgroups,
        ctypes.byref(fault),
    )
    if failed:
        error = describe(unit, library.path, fault)
        raise error if checked else KernelError(str(error))
    return {b.name: a.bytes_read for b, a in zip(buffers, array)}


@dataclasses.dataclass(frozen=True)
class _Library:
    path: Path
    handle: ctypes.CDLL
    mode: str


_prebuilt: list[_Library] = []
_entries: dict[tuple[str, str], tuple[_Library, int]] = {}


def add_library(path: Path) -> None:
    """Offers a library built before (or every `.so` of a directory) for the units it holds.

    Libraries of both modes may be added; a unit that is in none is compiled just in time. Raises
    ValueError for a path that is not a library of this runtime.
    """
    path = Path(path)
    files = sorted(path.rglob("*.so")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no kernel library (*.so) in this directory")
    for file in files:
        _prebuilt.append(_load(file.resolve()))
    _entries.clear()


@functools.lru_cache(maxsize=None)
def _load(path: Path) -> _Library:
    try:
        handle = ctypes.CDLL(str(path))
        handle.msl_library_mode.restype = ctypes.c_char_p
        mode = handle.msl_library_mode().decode()
        interface = handle.msl_library_interface()
    except (OSError, AttributeError) as error:
        raise ValueError(f"{path}: not a kernel library: {error}") from error
    if interface != _INTERFACE:
        raise ValueError(
            f"{path}: kernel library of another version: expected interface {_INTERFACE}, "
            f"found {interface}"
        )
    handle.msl_run.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(_Buffer),
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_uint32),
        ctypes.POINTER(ctypes.c_uint32),
        ctypes.c_int,
        ctypes.c_uint64,
        ctypes.c_uint64,
        ctypes.POINTER(Fault),
    ]
    return _Library(path, handle, mode)


def library_of(unit: Unit, mode: str) -> Path:
    """The library whose kernel runs for a unit in `mode` ("checked", "fast").

    One of those offered by `add_library` where it holds the unit, else compiled now.
    """
    return _entry(unit, mode)[0].path


def _entry(unit: Unit, mode: str) -> tuple[_Library, int]:
    """The library that holds a unit, and the address of its kernel there."""
    if (unit.key, mode) not in _entries:
        symbol = entry_symbol(unit)
        offered = (lib for lib in _prebuilt if lib.mode == mode and hasattr(lib.handle, symbol))
        library = next(offered, None) or _load(compile_.compile_just_in_time(unit, mode))
        address = ctypes.cast(getattr(library.handle, symbol), ctypes.c_void_p).value
        _entries[unit.key, mode] = (library, address)
    return _entries[unit.key, mode]
