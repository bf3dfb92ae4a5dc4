"""Compiles units with g++ into host libraries, and finds libraries that were compiled before.

A library is of one of two builds: "fast", or "checked", which calls the checker at each access.
Those compiled just in time are kept in the cache folder "metal", under a hash of everything that
decides them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from backends.mlx.common.arguments import at_least
from backends.mlx.common.cache import cache_folder
from backends.mlx.common.errors import InputError
from backends.mlx.common.files import written_whole
from backends.mlx.metal.text.host_source import host_source
from backends.mlx.metal.text.unit import Unit

BUILDS = ("fast", "checked")

_HOST = Path(__file__).absolute().parent / "host"
_FAST_RUNTIME = (
    "fibre.cpp",
    "threadgroup.cpp",
    "threadgroup_fault.cpp",
    "workers.cpp",
    "shared.cpp",
    "launch.cpp",
)
_RUNTIME_SOURCES = {
    "fast": _FAST_RUNTIME,
    "checked": (*_FAST_RUNTIME, "checker.cpp", "guarded.cpp", "hooks.cpp", "shadow.cpp"),
}

# Metal's safe math: no contraction; fma() must be one instruction, not a library call.
_COMMON_FLAGS = ["-std=gnu++17", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-w"]
# No red zone, since a kernel's own code pushes to its stack (host/msl_wait.h).
_MACHINE_FLAGS = {"x86_64": ["-mavx2", "-mfma", "-mf16c", "-mno-red-zone"]}
# Kernels view memory as other types (uint4 over bytes), which Metal permits.
_KERNEL_FLAGS = {
    "fast": ["-O3", "-fno-strict-aliasing"],
    # Each access in the source must stay one access, on its own line: hence -O1, and nothing that
    # copies or merges code.
    "checked": [
        "-O1",
        "-g1",
        "-gdwarf-4",
        "-fno-strict-aliasing",
        "-fno-optimize-sibling-calls",
        "-fno-thread-jumps",
        "-fsanitize=thread,alignment,bounds",
        "--param=tsan-instrument-func-entry-exit=0",
        "-DMSL_CHECKED",
    ],
}
_RUNTIME_FLAGS = {"fast": ["-O2"], "checked": ["-O2", "-DMSL_CHECKED"]}


class CompileError(InputError):
    """The host compiler refused a kernel. The message holds its first errors."""


def compile_library(units: Sequence[Unit], build: str, out: Path, work: Path | None = None) -> None:
    """Writes one shared library with all `units`, compiled on all cores, to `out`.

    build: one of BUILDS. work: an existing folder for objects that libraries share (the runtime,
    the precompiled header); without it they are made anew.

    Raises:
        CompileError: the compiler refused a unit.
    """
    if build not in BUILDS:
        raise ValueError(f"build: expected one of {', '.join(BUILDS)}, found {build!r}")
    units = list({unit.key: unit for unit in units}.values())
    with tempfile.TemporaryDirectory() as scratch:
        parts = Path(work) if work is not None else Path(scratch)
        with concurrent.futures.ThreadPoolExecutor(max_workers()) as pool:
            runtime = pool.submit(_runtime_object, build, parts)
            header = _precompiled_header(build, parts)
            compile_one = functools.partial(
                _kernel_object, build=build, header=header, scratch=Path(scratch)
            )
            objects = list(pool.map(compile_one, units))
            objects.append(runtime.result())
        with written_whole(out, 0o755) as temporary:
            # -Bsymbolic keeps a library to itself: each has a runtime of its own.
            _run(
                [
                    compiler(),
                    "-shared",
                    "-Wl,-Bsymbolic",
                    "-pthread",
                    "-o",
                    temporary,
                    *objects,
                    "-ldl",
                ],
                "linking",
            )


def compile_just_in_time(unit: Unit, build: str) -> Path:
    """The path of a library that holds `unit`; compiled now unless the cache has it."""
    library = library_path(unit, build)
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        compile_library([unit], build, library, work=library.parent)
    return library


def library_path(unit: Unit, build: str) -> Path:
    """Where the cache keeps the library that holds `unit`, if it was compiled."""
    return cache_folder("metal") / f"{unit.key}-{toolchain_key()}.{build}.so"


def max_workers() -> int:
    """How many threads work at once: MLX_GGUF_METAL_THREADS, else the cores of this process.

    Raises:
        InputError: the variable is not a number of at least 1.
    """
    limit = os.environ.get("MLX_GGUF_METAL_THREADS")
    if limit is None:
        return len(os.sched_getaffinity(0))
    try:
        return at_least(1)(limit)
    except argparse.ArgumentTypeError as error:
        raise InputError(f"MLX_GGUF_METAL_THREADS: {error}") from error


@functools.cache
def compiler() -> str:
    """The path of g++."""
    found = shutil.which("g++")
    if found is None:
        raise CompileError("g++ not found: Metal kernels run on Linux by compiling them with g++")
    return found


@functools.cache
def toolchain_key() -> str:
    """Hash of what a library depends on beside its units: compiler, flags, shim, runtime."""
    digest = hashlib.sha256()
    version = subprocess.run([compiler(), "--version"], capture_output=True, check=True).stdout
    flags = repr((_COMMON_FLAGS, _MACHINE_FLAGS, _KERNEL_FLAGS, _RUNTIME_FLAGS))
    for part in (version, platform.machine().encode(), flags.encode()):
        digest.update(part + b"\0")
    for file in sorted(_HOST.rglob("*")):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    digest.update((_HOST.parent / "text" / "host_source.py").read_bytes())
    return digest.hexdigest()[:16]


def _flags() -> list[str]:
    return [*_COMMON_FLAGS, *_MACHINE_FLAGS.get(platform.machine(), [])]


def _kernel_object(unit: Unit, build: str, header: Path, scratch: Path) -> Path:
    source = scratch / f"{unit.key}.cpp"
    source.write_text(host_source(unit))
    target = source.with_suffix(".o")
    # The precompiled header is found first; g++ wants the flags it was made with.
    include = ["-I", header.parent, "-I", _HOST, "-I", _HOST / "include"]
    command = [compiler(), *_flags(), *_KERNEL_FLAGS[build], *include, "-c", source, "-o", target]
    # The same input gives the same bytes, wherever it is built.
    command += [f"-ffile-prefix-map={scratch}=.", f"-ffile-prefix-map={_HOST}=host"]
    _run(command, unit.function, cwd=scratch)
    return target


def _precompiled_header(build: str, work: Path) -> Path:
    """The shim compiled once; `work`/.../msl_host.h stands beside it for g++ to find."""
    directory = work / f"shim-{toolchain_key()}-{build}"
    compiled = directory / "msl_host.h.gch"
    with _one_at_a_time(compiled):
        if not compiled.exists():
            directory.mkdir(parents=True, exist_ok=True)
            with written_whole(compiled) as temporary:
                _run(
                    [
                        compiler(),
                        *_flags(),
                        *_KERNEL_FLAGS[build],
                        "-x",
                        "c++-header",
                        _HOST / "msl_host.h",
                        "-o",
                        temporary,
                    ],
                    "the Metal shim",
                )
    return compiled


def _runtime_object(build: str, work: Path) -> Path:
    target = work / f"runtime-{toolchain_key()}-{build}.o"
    with _one_at_a_time(target):
        if not target.exists():
            with tempfile.TemporaryDirectory() as scratch, written_whole(target) as temporary:
                objects = []
                for name in _RUNTIME_SOURCES[build]:
                    source = _HOST / "runtime" / name
                    objects.append(Path(scratch) / (source.stem + ".o"))
                    flags = [*_flags(), *_RUNTIME_FLAGS[build]]
                    _run([compiler(), *flags, "-c", source, "-o", objects[-1]], "the runtime")
                _run([compiler(), "-r", "-nostdlib", "-o", temporary, *objects], "the runtime")
    return target


_locks: dict[Path, threading.Lock] = {}
_locks_guard = threading.Lock()


def _one_at_a_time(path: Path) -> threading.Lock:
    # Within a process; between processes the worst case is the same file made twice.
    with _locks_guard:
        return _locks.setdefault(path, threading.Lock())


def _run(command: list, subject: str, cwd: Path | None = None) -> None:
    command = [str(c) for c in command]
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    if result.returncode == 0:
        return
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    shown = "\n".join(errors[:10]) or result.stderr[-2000:]
    raise CompileError(f"{subject}: g++ failed ({result.returncode}):\n{shown}")
