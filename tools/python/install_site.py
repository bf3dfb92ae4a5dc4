"""Installs a hash-locked requirements file with pip into a folder of a shared cache.

`install_site.py REQUIREMENTS` prints the folder, which holds the packages, their compiled
bytecode and `site.txt`, the list of what is installed. The folder appears under its final
name only when it is complete: it is installed aside, checked and then renamed, under a
lock that a second process waits for. Its name is a hash of the requirements, the Python
version and the platform, so that it never changes once it is there.

`--one-of FILE FILE...` names more such files. The first of them that pip finds is installed
too: not every pip is told where torch for the CPU lies.

The cache is $MLX_GGUF_SITES, or else mlx_gguf/sites in $XDG_CACHE_HOME or ~/.cache.
"""

import argparse
import contextlib
import csv
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Sequence
from importlib.util import cache_from_source
from pathlib import Path

LISTING = "site.txt"

# Runs pip and compileall.
_PYTHON = sys.executable


class InstallError(Exception):
    """A one-line reason why there is no usable site folder."""


def cache_folder(environ=os.environ) -> Path:
    """The folder that holds the site folders."""
    if environ.get("MLX_GGUF_SITES"):
        return Path(environ["MLX_GGUF_SITES"])
    base = environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "mlx_gguf" / "sites"


def site_key(*locks: Path) -> str:
    """Names the site folder of these requirements files under this Python."""
    identity = "\n".join([sys.version, sysconfig.get_platform()]).encode()
    return hashlib.sha256(b"".join(lock.read_bytes() for lock in locks) + identity).hexdigest()


def install(requirements: Path, cache: Path, one_of: Sequence[Path] = ()) -> Path:
    """Returns the site folder of `requirements`, installing it when it is missing.

    Args:
        requirements: the file with the packages and their hashes.
        cache: the folder that holds the site folders.
        one_of: more such files, of which the first that pip finds is installed too.

    Raises:
        InstallError: there is no such folder, and why.
    """
    try:
        site = cache / site_key(requirements, *one_of)
        if site.exists():
            return site
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(site.with_suffix(".lock")):
            # Whoever held the lock before may have installed it.
            if not site.exists():
                _install_new(requirements, one_of, site)
        return site
    except OSError as error:
        raise InstallError(str(error)) from error


@contextlib.contextmanager
def _locked(path: Path):
    """Holds an exclusive lock, which the kernel drops should this process die."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _first_found(locks: Sequence[Path], target: Path) -> list[Path]:
    """The first that pip finds, or else the last, of which pip then says what it lacks."""
    for lock in locks[:-1]:
        if _is_found(lock, target):
            return [lock]
        print(f"pip does not find {lock.name} for this Python and machine", file=sys.stderr)
    return list(locks[-1:])


def _is_found(lock: Path, target: Path) -> bool:
    try:
        output = _pip_install([lock], target, "--dry-run")
    except InstallError as error:
        if "No matching distribution found" in str(error):
            return False
        raise
    # Not so where all of it is for other Pythons or machines.
    return "Would install" in output


def _install_new(requirements: Path, one_of: Sequence[Path], site: Path) -> None:
    # Under the lock, a folder of this name can only be what a killed process left.
    part = site.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _pip_install([requirements, *_first_found(one_of, part)], part, "--quiet")
        installed = _check_files(part)
        _compile(part)
        (part / LISTING).write_text("".join(f"{name}=={version}\n" for name, version in installed))
        part.rename(site)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _pip_install(locks: Sequence[Path], target: Path, *options: str) -> str:
    # --no-deps: the locks are the whole list; a hash for everything makes that safe.
    return _run(
        "pip install",
        *(_PYTHON, "-m", "pip", "install", *options, "--no-input"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile"),
        *("--disable-pip-version-check", "--root-user-action", "ignore"),
        *("--target", str(target)),
        *(option for lock in locks for option in ("--requirement", str(lock))),
    )


def _compile(folder: Path) -> None:
    """Compiles to bytecode now: whoever imports from the cache must not write to it.

    The bytecode is that of its source alone, the same in each installation: by default it
    would hold the source's time, and its path under the name of the unfinished folder.
    """
    try:
        _run(
            "compileall",
            *(_PYTHON, "-m", "compileall", "-q", "-j", "0"),
            *("--invalidation-mode", "unchecked-hash", "-s", str(folder), str(folder)),
        )
    except InstallError:
        # Packages hold a few files that are only for a newer Python; no other failure is.
        missing = [p for p in folder.rglob("*.py") if not Path(cache_from_source(p)).exists()]
        if not missing or not all(map(_is_for_another_python, missing)):
            raise


def _is_for_another_python(path: Path) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError:
        return True
    return False


def _check_files(folder: Path) -> list[tuple[str, str]]:
    """The (name, version) of what is installed, each file of it present at its full size."""
    installed = []
    for distribution in importlib.metadata.distributions(path=[str(folder)]):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        installed.append((name, distribution.version))
        # distribution.files would leave out what is missing, from Python 3.12 on.
        record = distribution.read_text("RECORD")
        if record is None:
            raise InstallError(f"{name}: pip left no list of its files")
        for file, _, size in csv.reader(record.splitlines()):
            # pip moves scripts and data that lie outside the package folder.
            if file.startswith("../") or not size:
                continue
            path = folder / file
            found = str(path.stat().st_size) if path.exists() else "no file"
            if found != size:
                raise InstallError(f"{name}: {file}: expected {size} bytes, found {found}")
    return sorted(installed)


def _run(what: str, *command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise InstallError(f"{what}: {_reason(done.stdout)} (exit status {done.returncode})")
    return done.stdout


def _reason(output: str) -> str:
    """What a failed command said, in one line: its errors, or else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"ERROR|\*\*\*|\w*Error", line)]
    return " ".join(errors or lines[-1:]) or "no output"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--one-of", type=Path, nargs="+", default=[], metavar="FILE")
    arguments = parser.parse_args()
    try:
        print(install(arguments.requirements, cache_folder(), arguments.one_of))
    except InstallError as error:
        print(f"install_site: {arguments.requirements.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
