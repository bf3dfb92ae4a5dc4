"""Compiles units with g++ into host libraries, and finds libraries that were compiled before.

A library is of one of two builds: "fast", or "checked", which calls the checker at each access.
What all libraries of a build share, the shim and the runtime, `prepare_build` compiles once, into
a folder; Bazel keeps those beside this file. Libraries compiled just in time are kept in the cache
folder "metal", under a hash of all that decides them.

The same input gives the same bytes wherever it is compiled: g++ works in a folder of its own and
sees only paths relative to it. `host` is a copy in there: in a precompiled header, the length of
the path that a link leads to shows.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from backends.mlx.common.arguments import at_least
from backends.mlx.common.cache import cache_folder
from backends.mlx.common.errors import InputError
from backends.mlx.common.files import folder_written_whole, written_whole
from backends.mlx.metal.compiler import HALF_FLAGS, CompileError, Compiler, find
from backends.mlx.metal.text.host_source import host_source
from backends.mlx.metal.text.unit import Unit, grouped

BUILDS = ("fast", "checked")

_HERE = Path(__file__).absolute().parent
_HOST = _HERE / "host"
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
_RUNTIME = "runtime.o"

# The variables that g++ is to see, and what may stand before it.
_PASSED_ON = re.compile("PATH$|HOME$|TMPDIR$|CCACHE_")

# personality(2), and what it is given.
_PERSONALITY = getattr(ctypes.CDLL(None), "personality", lambda _: None)
_ADDR_NO_RANDOMIZE = 0x0040000

# Metal's safe math: no contraction; fma() must be one instruction, not a library call.
_COMMON_FLAGS = [
    "-std=gnu++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    *HALF_FLAGS,
    "-w",
]
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


def prepare_build(build: str, out: Path) -> None:
    """Fills the new folder `out` with what libraries of `build` share: the shim, the runtime.

    The shim is a precompiled header, for g++ to find before the one it stands for.
    """
    _check_build(build)
    with folder_written_whole(out) as folder, _workshop() as shop:
        shim = ["-x", "c++-header", "host/msl_host.h", "-o", "msl_host.h.gch"]
        _compile(shop, [*_KERNEL_FLAGS[build], *shim], "the Metal shim")
        for name in _RUNTIME_SOURCES[build]:
            source = ["-c", f"host/runtime/{name}", "-o", f"{name}.o"]
            _compile(shop, [*_RUNTIME_FLAGS[build], *source], "the runtime")
        objects = [f"{name}.o" for name in _RUNTIME_SOURCES[build]]
        _run(shop, ["-r", "-nostdlib", "-o", _RUNTIME, *objects], "the runtime")
        for name in ("msl_host.h.gch", _RUNTIME):
            shutil.move(shop / name, folder)


def compile_library(
    units: Sequence[Unit], build: str, out: Path, prepared: Path | None = None
) -> None:
    """Writes one shared library with all `units`, compiled on all cores, to `out`.

    build: one of BUILDS. prepared: the folder that `prepare_build` made for it; without one, that
    of Bazel or of the cache is used.

    Raises:
        CompileError: the compiler refused a unit.
    """
    _check_build(build)
    units = list({unit.key: unit for unit in units}.values())
    with _workshop() as shop:
        (shop / "prepared").symlink_to((prepared or _prepared(build)).absolute())
        # The precompiled header is found first; g++ wants the flags it was made with.
        flags = [*_KERNEL_FLAGS[build], "-I", "prepared", "-I", "host", "-I", "host/include"]

        def compile_group(group: Sequence[Unit]) -> str:
            key = group[0].key
            (shop / f"{key}.cpp").write_text(host_source(group), encoding="utf-8")
            _compile(shop, [*flags, "-c", f"{key}.cpp", "-o", f"{key}.o"], group[0].function)
            return f"{key}.o"

        with concurrent.futures.ThreadPoolExecutor(max_workers()) as pool:
            objects = list(pool.map(compile_group, grouped(units)))
        with written_whole(out.absolute(), 0o755) as temporary:
            # -Bsymbolic keeps a library to itself: each has a runtime of its own.
            options = ["-shared", "-Wl,-Bsymbolic", "-pthread", "-o", str(temporary)]
            _run(shop, [*options, *objects, f"prepared/{_RUNTIME}", "-ldl"], "linking")


def compile_just_in_time(unit: Unit, build: str) -> Path:
    """The path of a library that holds `unit`; compiled now unless the cache has it."""
    library = library_path(unit, build)
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        compile_library([unit], build, library)
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
        # macOS binds no process to cores.
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    try:
        return at_least(1)(limit)
    except argparse.ArgumentTypeError as error:
        raise InputError(f"MLX_GGUF_METAL_THREADS: {error}") from error


@functools.cache
def compiler() -> Compiler:
    """What `compiler.find` finds, looked for once."""
    return find()


@functools.cache
def toolchain_key() -> str:
    """Hash of what a library depends on beside its units: compiler, flags, shim, runtime."""
    digest = hashlib.sha256()
    flags = repr((_COMMON_FLAGS, _MACHINE_FLAGS, _KERNEL_FLAGS, _RUNTIME_FLAGS))
    for part in (repr(compiler()), platform.machine(), flags):
        digest.update(part.encode() + b"\0")
    for file in sorted(_HOST.rglob("*")):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    digest.update((_HOST.parent / "text" / "host_source.py").read_bytes())
    return digest.hexdigest()[:16]


def _check_build(build: str) -> None:
    if build not in BUILDS:
        raise ValueError(f"build: expected one of {', '.join(BUILDS)}, found {build!r}")


_preparing = threading.Lock()


def _prepared(build: str) -> Path:
    """What Bazel made, or else the cache's folder, which all threads of this process await."""
    built = _HERE / f"prepared_{build}"
    if built.exists():
        return built
    folder = cache_folder("metal") / f"{toolchain_key()}.{build}"
    with _preparing:
        if not folder.exists():
            prepare_build(build, folder)
    return folder


@contextlib.contextmanager
def _workshop() -> Iterator[Path]:
    """A folder to compile in, for the time of the work."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(_HOST, Path(folder) / "host")
        yield Path(folder)


def _at_fixed_addresses() -> None:
    """A precompiled header holds g++'s own addresses, which Linux else moves in each process.

    Where a container forbids it, the header's bytes differ, but not what is compiled with it.
    """
    _PERSONALITY(_ADDR_NO_RANDOMIZE)


def _compile(shop: Path, arguments: Sequence[str], subject: str) -> None:
    flags = [*_COMMON_FLAGS, *_MACHINE_FLAGS.get(platform.machine(), [])]
    _run(shop, [*flags, *arguments], subject)


def _run(shop: Path, arguments: Sequence[str], subject: str) -> None:
    command = [*compiler().command, *arguments]
    # g++ writes the working folder into what it makes, under the name that PWD gives it; and in a
    # precompiled header, the length of all variables shows.
    environment = {
        **{name: value for name, value in os.environ.items() if _PASSED_ON.match(name)},
        "LC_ALL": "C",
        "PWD": "/proc/self/cwd",
    }
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=shop,
        env=environment,
        preexec_fn=_at_fixed_addresses,
    )
    if result.returncode == 0:
        return
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    shown = "\n".join(errors[:10]) or result.stderr[-2000:]
    raise CompileError(f"{subject}: g++ failed ({result.returncode}):\n{shown}")
