"""Libraries of kernels: finds the one that holds a unit, loads it, runs the kernel in it."""

from __future__ import annotations

import concurrent.futures
import ctypes
import dataclasses
import functools
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from backends.mlx.metal import compile as compile_
from backends.mlx.metal.fault import CheckError, Fault, KernelError
from backends.mlx.metal.text.host_source import entry_symbol
from backends.mlx.metal.text.unit import Unit

_LOG = logging.getLogger(__name__)

_INPUT, _OUTPUT, _INITIALISED_OUTPUT = range(3)  # msl_role
_INTERFACE = 4  # msl_interface of host/runtime/launch.h
_ALL_THREADGROUPS = (0, 2**64 - 1)


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("role", ctypes.c_int32),
        ("bytes_read", ctypes.c_uint64),
    ]


@dataclasses.dataclass(frozen=True)
class Threads:
    """The threads of a launch: three sizes each, counted in threads.

    part: the threadgroups [first, last) to run, by their linear index; None for all.
    """

    grid: tuple[int, int, int]
    threadgroup: tuple[int, int, int]
    part: tuple[int, int] | None = None


def run(
    unit: Unit,
    buffers: Sequence[tuple[int, int]],
    threads: Threads,
    build: str,
    initialised: bool = False,
) -> dict[str, int]:
    """Runs a unit's kernel in its library of `build`, "fast" or "checked".

    buffers: (address, bytes) of the unit's `parameters`, in order. initialised: the outputs hold
    values before the run. Returns, by name, the bytes that a checked run read of each, every load
    counted; nothing after a fast run.

    Raises:
        CheckError: the checker found a fault.
        KernelError: not even a fast run can go on (a deadlock, a limit of Metal).
        CompileError: the unit is not compiled yet, and the compiler refuses it.
    """
    entry = _entry(unit, build)
    array = entry.buffers(initialised)
    for buffer, (address, size) in zip(array, buffers, strict=True):
        buffer.data, buffer.bytes = address, size
    fault = Fault()
    failed = entry.library.handle.msl_run(
        entry.address,
        array,
        len(array),
        (ctypes.c_uint32 * 3)(*threads.grid),
        (ctypes.c_uint32 * 3)(*threads.threadgroup),
        compile_.max_workers(),
        entry.library.shared,
        *(threads.part or _ALL_THREADGROUPS),
        ctypes.byref(fault),
    )
    checked = build == "checked"
    if failed:
        error = CheckError(unit, entry.library.path, fault)
        raise error if checked else KernelError(str(error))
    return {b.name.decode(): b.bytes_read for b in array} if checked else {}


@dataclasses.dataclass(frozen=True)
class _Library:
    path: Path
    handle: ctypes.CDLL
    build: str
    shared: int  # address of the msl_shared that all libraries use


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A unit's kernel in a library."""

    library: _Library
    address: int
    unit: Unit

    def buffers(self, initialised: bool) -> ctypes.Array:
        """A new array of the kernel's buffers, whose addresses are to be filled in."""
        return type(self._roles[initialised]).from_buffer_copy(self._roles[initialised])

    @functools.cached_property
    def _roles(self) -> tuple[ctypes.Array, ctypes.Array]:
        return self._described(_OUTPUT), self._described(_INITIALISED_OUTPUT)

    def _described(self, output_role: int) -> ctypes.Array:
        parameters = self.unit.parameters
        return (_Buffer * len(parameters))(
            *(
                _Buffer(None, 0, name, output_role if p.role == "output" else _INPUT)
                for p, name in zip(parameters, self._names, strict=True)
            )
        )

    @functools.cached_property
    def _names(self) -> tuple[bytes, ...]:
        # Kept here, since the arrays hold only their addresses.
        return tuple(
            (p.name if p.role in ("input", "output") else f"{p.name}_{p.role}").encode()
            for p in self.unit.parameters
        )


_prebuilt: list[_Library] = []
_entries: dict[tuple[str, str], _Entry] = {}


def add_library(path: Path) -> None:
    """Offers a library built before (or every `.so` of a directory) for the units it holds.

    Libraries of both builds may be added; a unit that is in none is compiled just in time.

    Raises:
        ValueError: the path is not a library of this runtime.
    """
    path = Path(path)
    files = sorted(path.rglob("*.so")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no kernel library (*.so) in this directory")
    for file in files:
        _prebuilt.append(_load(file.resolve()))
    _entries.clear()


@functools.cache
def _load(path: Path) -> _Library:
    try:
        handle = ctypes.CDLL(str(path))
        interface = handle.msl_library_interface()
    except (OSError, AttributeError) as error:
        raise ValueError(f"{path}: not a kernel library: {error}") from error
    if interface != _INTERFACE:
        raise ValueError(
            f"{path}: kernel library of another version: expected interface {_INTERFACE}, "
            f"found {interface}"
        )
    handle.msl_library_build.restype = ctypes.c_char_p
    handle.msl_run.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(_Buffer),
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_uint32),
        ctypes.POINTER(ctypes.c_uint32),
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_uint64,
        ctypes.POINTER(Fault),
    ]
    return _Library(path, handle, handle.msl_library_build().decode(), _shared_of(handle))


_shared: list[int] = []


def _shared_of(handle: ctypes.CDLL) -> int:
    """The address of msl_shared_by_all in the first library of all, which serves them all."""
    if not _shared:
        _shared.append(ctypes.addressof(ctypes.c_byte.in_dll(handle, "msl_shared_by_all")))
    return _shared[0]


def library_of(unit: Unit, build: str) -> Path:
    """The library of `build` ("checked", "fast") whose kernel runs for a unit.

    One of those offered by `add_library` where it holds the unit, else compiled now.

    Raises:
        CompileError: the compiler refuses the unit.
    """
    return _entry(unit, build).library.path


def prepare(units: Iterable[Unit]) -> None:
    """Makes ready what fast runs of `units` need, on all cores; logs each kernel it compiles.

    Raises:
        CompileError: of the first unit that the compiler refuses.
    """
    units = list({unit.key: unit for unit in units}.values())
    missing = [unit for unit in units if not _is_ready(unit)]
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(compile_.max_workers()) as pool:
        for done, unit in enumerate(pool.map(_compiled, missing), 1):
            elapsed = time.monotonic() - started
            _LOG.info("kernel %d of %d: %s, %.1f s", done, len(missing), unit.name, elapsed)
    for unit in units:
        _entry(unit, "fast")


def _is_ready(unit: Unit) -> bool:
    return (
        (unit.key, "fast") in _entries
        or any(_holds(library, unit, "fast") for library in _prebuilt)
        or compile_.library_path(unit, "fast").exists()
    )


def _compiled(unit: Unit) -> Unit:
    compile_.compile_just_in_time(unit, "fast")
    return unit


def _holds(library: _Library, unit: Unit, build: str) -> bool:
    return library.build == build and hasattr(library.handle, entry_symbol(unit))


def _just_in_time(unit: Unit, build: str) -> _Library:
    path = compile_.compile_just_in_time(unit, build)
    try:
        return _load(path)
    except ValueError:
        # What a crash or another machine left in the cache is made anew.
        path.unlink()
    return _load(compile_.compile_just_in_time(unit, build))


def _entry(unit: Unit, build: str) -> _Entry:
    """A unit's kernel, in a library offered before or one compiled now."""
    if (unit.key, build) not in _entries:
        offered = (library for library in _prebuilt if _holds(library, unit, build))
        library = next(offered, None) or _just_in_time(unit, build)
        kernel = getattr(library.handle, entry_symbol(unit))
        address = ctypes.cast(kernel, ctypes.c_void_p).value
        assert address  # the library has the symbol
        _entries[unit.key, build] = _Entry(library, address, unit)
    return _entries[unit.key, build]
