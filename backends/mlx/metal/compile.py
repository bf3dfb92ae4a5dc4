"""Compiles units with g++ into host libraries, and finds libraries that were built before.

Just-in-time results are kept in $TEST_TMPDIR if set, else in ${XDG_CACHE_HOME:-~/.cache}/
mlx_gguf/metal, under a hash of everything that decides them; files appear there whole, by rename.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from backends.mlx.common.errors import InputError
from backends.mlx.metal.text.host_source import host_source
from backends.mlx.metal.text.unit import Unit

MODES = ("fast", "checked")

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


def compile_library(units: Sequence[Unit], mode: str, out: Path, work: Path | None = None) -> None:
    """Writes one shared library with all `units`, compiled on all cores, to `out`.

    work: where objects shared between libraries (the runtime, the precompiled header) are kept;
    without it, in a temporary directory.
    """
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, found {mode!r}")
    units = list({unit.key: unit for unit in units}.values())
    with tempfile.TemporaryDirectory() as scratch:
        parts = Path(work) if work is not None else Path(scratch)
        with concurrent.futures.ThreadPoolExecutor(max_workers()) as pool:
            runtime = pool.submit(_runtime_object, mode, parts)
            header = _precompiled_header(mode, parts)
            compile_one = functools.partial(
                _kernel_object, mode=mode, header=header, scratch=Path(scratch)
            )
            objects = list(pool.map(compile_one, units))
            objects.append(runtime.result())
        with _written_whole(out) as temporary:
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


def compile_just_in_time(unit: Unit, mode: str) -> Path:
    """The path of a library that holds `unit`; compiled now unless the cache has it."""
    library = library_path(unit, mode)
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        compile_library([unit], mode, library, work=library.parent)
    return library


def library_path(unit: Unit, mode: str) -> Path:
    """Where the cache keeps the library that holds `unit`, if it was compiled."""
    return cache_directory() / f"{unit.key}-{toolchain_key()}.{mode}.so"


def cache_directory() -> Path:
    """Where just-in-time results are kept."""
    test = os.environ.get("TEST_TMPDIR")
    if test:
        return Path(test) / "mlx_gguf_metal"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlx_gguf" / "metal"


def max_workers() -> int:
    """Number of cores this process may use, or MLX_GGUF_METAL_THREADS if that is set."""
    limit = os.environ.get("MLX_GGUF_METAL_THREADS")
    if limit is None:
        return len(os.sched_getaffinity(0))
    if not limit.isdigit() or int(limit) < 1:
        raise InputError(f"MLX_GGUF_METAL_THREADS: expected a number above 0, found {limit!r}")
    return int(limit)


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


def _kernel_object(unit: Unit, mode: str, header: Path, scratch: Path) -> Path:
    source = scratch / f"{unit.key}.cpp"
    source.write_text(host_source(unit))
    target = source.with_suffix(".o")
    # The precompiled header is found first; g++ wants the flags it was made with.
    include = ["-I", header.parent, "-I", _HOST, "-I", _HOST / "include"]
    command = [compiler(), *_flags(), *_KERNEL_FLAGS[mode], *include, "-c", source, "-o", target]
    # The same input gives the same bytes, wherever it is built.
    command += [f"-ffile-prefix-map={scratch}=.", f"-ffile-prefix-map={_HOST}=host"]
    _run(command, unit.function, cwd=scratch)
    return target


def _precompiled_header(mode: str, work: Path) -> Path:
    """The shim compiled once; `work`/.../msl_host.h stands beside it for g++ to find."""
    directory = work / f"shim-{toolchain_key()}-{mode}"
    compiled = directory / "msl_host.h.gch"
    with _one_at_a_time(compiled):
        if not compiled.exists():
            directory.mkdir(parents=True, exist_ok=True)
            with _written_whole(compiled) as temporary:
                _run(
                    [
                        compiler(),
                        *_flags(),
                        *_KERNEL_FLAGS[mode],
                        "-x",
                        "c++-header",
                        _HOST / "msl_host.h",
                        "-o",
                        temporary,
                    ],
                    "the Metal shim",
                )
    return compiled


def _runtime_object(mode: str, work: Path) -> Path:
    target = work / f"runtime-{toolchain_key()}-{mode}.o"
    with _one_at_a_time(target):
        if not target.exists():
            with tempfile.TemporaryDirectory() as scratch, _written_whole(target) as temporary:
                objects = []
                for name in _RUNTIME_SOURCES[mode]:
                    source = _HOST / "runtime" / name
                    objects.append(Path(scratch) / (source.stem + ".o"))
                    flags = [*_flags(), *_RUNTIME_FLAGS[mode]]
                    _run([compiler(), *flags, "-c", source, "-o", objects[-1]], "the runtime")
                _run([compiler(), "-r", "-nostdlib", "-o", temporary, *objects], "the runtime")
    return target


_locks: dict[Path, threading.Lock] = {}
_locks_guard = threading.Lock()


def _one_at_a_time(path: Path) -> threading.Lock:
    # Within a process; between processes the worst case is the same file made twice.
    with _locks_guard:
        return _locks.setdefault(path, threading.Lock())


@contextlib.contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o755 if path.suffix == ".so" else 0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _run(command: list, subject: str, cwd: Path | None = None) -> None:
    command = [str(c) for c in command]
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    if result.returncode == 0:
        return
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    shown = "\n".join(errors[:10]) or result.stderr[-2000:]
    raise CompileError(f"{subject}: g++ failed ({result.returncode}):\n{shown}")
