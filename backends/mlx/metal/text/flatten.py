"""Joins kernel sources into the one header string that MLX takes: it has no include path."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)".*$')
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once\b.*$")


def flatten(files: Sequence[Path], include_dirs: Sequence[Path] = ()) -> str:
    """The text of `files` one after another, each `#include "..."` replaced by that file's text.

    A file is looked for beside the one that includes it, then in `include_dirs`, and appears
    once, where it is first named. `#include <...>` lines stay; `#pragma once` lines go.

    Raises:
        ValueError: a file is not there. Names it, and the line that includes it.
    """
    return _flatten(files, include_dirs)[0]


def included(files: Sequence[Path], include_dirs: Sequence[Path] = ()) -> set[Path]:
    """The files that `flatten` joins: absolute paths. Raises as it does."""
    return _flatten(files, include_dirs)[1]


def _flatten(files: Sequence[Path], include_dirs: Sequence[Path]) -> tuple[str, set[Path]]:
    seen: set[Path] = set()
    dirs = [Path(d) for d in include_dirs]
    return "".join(_expand(_required(Path(f)), dirs, seen) for f in files), seen


def _required(file: Path) -> Path:
    if not file.is_file():
        raise ValueError(f"{file}: no such kernel source")
    return file


def _expand(file: Path, dirs: list[Path], seen: set[Path]) -> str:
    # Links stay: under Bazel, sources are links out of the tree that holds their neighbours.
    identity = Path(os.path.abspath(file))
    if identity in seen:
        return ""
    seen.add(identity)
    lines = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if _ONCE.match(line):
            continue
        include = _INCLUDE.match(line)
        if include is None:
            lines.append(line + "\n")
            continue
        name = include.group(1)
        places = [d / name for d in [file.parent, *dirs]]
        found = next((p for p in places if p.is_file()), None)
        if found is None:
            searched = ", ".join(str(p.parent) for p in places)
            raise ValueError(f'{file}:{number}: include "{name}" not found in {searched}')
        lines.append(_expand(found, dirs, seen))
    return "".join(lines)
