"""A mapped GGUF model: one file, or the files it was split into, with checked look-ups.

A split model is that of llama.cpp's `gguf-split`: files `NAME-00001-of-0000N.gguf`, each with
`split.no` (from 0), `split.count` (N) and `split.tensors.count` (of all files together); only the
first has the model's metadata. Any of them opens the model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from backends.mlx.gguf.checkpoint import reader
from backends.mlx.gguf.checkpoint.tensor import DENSE_TYPES, GGUFError, GGUFTensorInfo, quoted

__all__ = ["DENSE_TYPES", "GGUFError", "GGUFFile", "GGUFTensorInfo"]

_SPLIT_NAME = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_SPLIT_NO, _SPLIT_COUNT, _SPLIT_TENSORS = "split.no", "split.count", "split.tensors.count"

# What a metadata value can be in Python, and how messages call it.
_KINDS = {
    int: "an integer",
    float: "a float",
    bool: "a bool",
    str: "a string",
    tuple: "an array of strings",
    np.ndarray: "an array of numbers",
}

T = TypeVar("T")


class GGUFFile:
    """A mapped GGUF model; no weights are copied.

    Attributes:
        path: the file, for a split model the first one.
        paths: all its files, in order.
        version: 2 or 3.
        metadata: key -> value. Scalars are Python numbers, strings str, arrays of strings a
            tuple of str, other arrays a read-only numpy view on the map.
        tensors: name -> GGUFTensorInfo, in the files' order.
        keys_read: the keys that `require` and `optional` were asked for. What no reader asked
            for has no part in the model, see `model/keys.py`.
        warnings: one line each: what is odd about the file and was understood all the same.

    Raises:
        GGUFError: a path cannot be mapped, anything in a file is not as the format says, or the
            files of a split model do not belong together.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        parts = _read_parts(Path(path))
        self.path = parts[0].path
        self.paths = tuple(part.path for part in parts)
        self.version = parts[0].version
        self.metadata: Mapping[str, Any] = MappingProxyType(parts[0].metadata)
        self.tensors: Mapping[str, GGUFTensorInfo] = MappingProxyType(_merge(parts))
        self.keys_read: set[str] = set()
        self.warnings = [warning for part in parts for warning in part.warnings]

    def ignore(self, keys: Collection[str]) -> None:
        """Goes on as if the file had none of these keys.

        Raises:
            GGUFError: it has not.
        """
        for key in keys:
            if key not in self.metadata:
                raise GGUFError(self.path, _subject(key), "a key to ignore", "no such key")
            self.warn(key, "ignored, as was asked")
        kept = {key: value for key, value in self.metadata.items() if key not in keys}
        self.metadata = MappingProxyType(kept)

    def warn(self, subject: str, text: str) -> None:
        """Adds `SUBJECT: TEXT` to the warnings, once; `subject` is a key or a tensor."""
        line = f"{subject}: {text}"
        if line not in self.warnings:
            self.warnings.append(line)

    def require(self, key: str, kind: type[T]) -> T:
        """The metadata value of `key`.

        Args:
            kind: int, float, bool, str, tuple (of strings) or np.ndarray (of numbers). An integer
                does for a float, as writers store 10000.0 as either.

        Raises:
            GGUFError: the key is missing or its value is of another kind.
        """
        self.keys_read.add(key)
        if key not in self.metadata:
            raise GGUFError(self.path, _subject(key), _KINDS[kind], "no such key")
        return _checked(self.path, self.metadata, key, kind)

    def optional(self, key: str, kind: type[T], default: T | None = None) -> T | None:
        """The metadata value of `key`, `default` if the file has none.

        Raises:
            GGUFError: the value is not of `kind`, see `require`.
        """
        self.keys_read.add(key)
        return self.require(key, kind) if key in self.metadata else default


def _read_parts(path: Path) -> list[reader.Part]:
    """The file at `path` and, if it is one of a split model's, the others beside it, in order."""
    opened = reader.read(path)
    if _SPLIT_COUNT not in opened.metadata:
        return [opened]
    count = _split_value(opened, _SPLIT_COUNT)
    # Parts put together again have 0.
    if count <= 1:
        return [opened]
    name = _SPLIT_NAME.fullmatch(path.name)
    number = _split_value(opened, _SPLIT_NO)
    expected = _part_name("NAME" if name is None else name["prefix"], number, count)
    if number >= count:
        raise GGUFError(path, _subject(_SPLIT_NO), f"a number below {count}", str(number))
    if name is None or path.name != expected:
        raise GGUFError(
            path, f"file name of part {number} (from 0) of {count}", expected, path.name
        )
    siblings = [path.with_name(_part_name(name["prefix"], other, count)) for other in range(count)]
    parts = [opened if other == path else _read_sibling(other, path) for other in siblings]
    _check_parts(parts)
    return parts


def _read_sibling(sibling: Path, opened: Path) -> reader.Part:
    if not sibling.exists():
        raise GGUFError(
            sibling, "file", f"it beside {opened.name}, as a part of the same model", "no such file"
        )
    return reader.read(sibling)


def _part_name(prefix: str, number: int, count: int) -> str:
    return f"{prefix}-{number + 1:05}-of-{count:05}.gguf"


def _check_parts(parts: Sequence[reader.Part]) -> None:
    """Checks what each part says of the split, and that all its tensors are there."""
    total = _split_value(parts[0], _SPLIT_TENSORS)
    for number, part in enumerate(parts):
        for key, expected in (
            (_SPLIT_NO, number),
            (_SPLIT_COUNT, len(parts)),
            (_SPLIT_TENSORS, total),
        ):
            found = _split_value(part, key)
            if found != expected:
                raise GGUFError(part.path, _subject(key), str(expected), str(found))
    found = sum(len(part.tensors) for part in parts)
    if found != total:
        raise GGUFError(
            parts[0].path,
            f"tensors in all {len(parts)} files",
            f"{total}, as {_SPLIT_TENSORS} says",
            str(found),
        )


def _merge(parts: Sequence[reader.Part]) -> dict[str, GGUFTensorInfo]:
    tensors: dict[str, GGUFTensorInfo] = {}
    for part in parts:
        for name, info in part.tensors.items():
            if name in tensors:
                raise GGUFError(
                    part.path,
                    f"tensor {quoted(name)}",
                    "each name once",
                    f"it in {tensors[name].path.name} too",
                )
            tensors[name] = info
    return tensors


def _split_value(part: reader.Part, key: str) -> int:
    if key not in part.metadata:
        raise GGUFError(
            part.path, _subject(key), "it in every part of a split model", "no such key"
        )
    value = _checked(part.path, part.metadata, key, int)
    if value < 0:
        raise GGUFError(part.path, _subject(key), "a count", str(value))
    return value


def _checked(path: Path, metadata: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = metadata[key]
    if kind is float and type(value) is int:
        value = float(value)
    # A bool is an int to Python, but not in a file.
    if type(value) is not kind:
        raise GGUFError(path, _subject(key), _KINDS[kind], _KINDS[type(value)])
    return value


def _subject(key: str) -> str:
    return f"metadata {quoted(key)}"
