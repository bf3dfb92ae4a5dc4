"""The files that are checked and formatted, and the programs that do it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import clang_format

ROOT = Path(os.environ.get("BUILD_WORKSPACE_DIRECTORY") or Path(__file__).parents[2])

_CPP = {".cpp", ".cu", ".h", ".metal"}
_NOT_OURS = {".git", ".github", "build", "__pycache__"}


def files(root: Path, suffixes: set[str]) -> list[Path]:
    """The files below `root` with one of `suffixes`, but for what is built there."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name for name in folders if name not in _NOT_OURS and not name.startswith("bazel-")
        ]
        found += [Path(folder) / name for name in names if Path(name).suffix in suffixes]
    return sorted(found)


def python(root: Path) -> list[Path]:
    """Every Python file."""
    return files(root, {".py"})


def cpp(root: Path) -> list[Path]:
    """Every C++, CUDA and Metal file."""
    return files(root, _CPP)


def ruff_command(root: Path, *arguments: str) -> list[str]:
    """ruff, with this project's settings and without a cache."""
    config = str(root / "pyproject.toml")
    return [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--config", config]


def clang_format_command(root: Path, *arguments: str) -> list[str]:
    """clang-format, with this project's settings."""
    program = clang_format.get_executable("clang-format")
    return [str(program), f"--style=file:{root / '.clang-format'}", *arguments]


def environment() -> dict[str, str]:
    """The variables of such a program: it finds the packages that this one found."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
