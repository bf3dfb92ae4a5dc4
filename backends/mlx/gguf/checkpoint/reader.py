"""Reads a GGUF file strictly: maps it, checks every count, length and offset, copies no weights.

The format is the one described in ggml's `docs/gguf.md`, versions 2 and 3, little endian; where
that text is silent (a power-of-two alignment, tensors packed without gaps, at most four
dimensions) the rules are those ggml's own loader applies. The `gguf` package's `GGUFReader` is
not used: it makes one numpy array for every string of the vocabulary (12 s for Gemma 3's 262144
tokens, against 0.2 s here), and what it raises on a damaged file names neither file nor tensor.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backends.mlx.common.files import map_regular
from backends.mlx.gguf.checkpoint.tensor import GGUFError, GGUFTensorInfo, quoted
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
MAX_NAME_BYTES = 65535

# Value types of metadata, by the ids of gguf.md.
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "|b1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9

# The smallest entry each count can promise, to refuse absurd counts before looping over them.
_MIN_METADATA_BYTES = 8 + 4 + 1  # key length, value type, one byte of value
_MIN_TENSOR_INFO_BYTES = 8 + 4 + 4 + 8  # name length, dimensions, type, offset

_UINT32_LAYOUT = struct.Struct("<I")
_UINT64_LAYOUT = struct.Struct("<Q")


class Part(NamedTuple):
    """What one file holds; the attributes are those of `file.GGUFFile`."""

    path: Path
    version: int
    metadata: dict[str, Any]
    tensors: dict[str, GGUFTensorInfo]
    warnings: tuple[str, ...] = ()


def read(path: Path) -> Part:
    """Maps and checks one file, whether whole or one of a split model's.

    Raises:
        GGUFError: the path cannot be mapped, or anything in the file is not as the format says.
    """
    reader = _Reader(path, map_regular(path, functools.partial(GGUFError, path, "file")))
    version = _read_version(reader)
    tensor_count = reader.count("the tensor count", _MIN_TENSOR_INFO_BYTES)
    metadata_count = reader.count("the metadata count", _MIN_METADATA_BYTES)
    metadata = _read_metadata(reader, metadata_count)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    infos = [
        _read_tensor_info(reader, f"tensor {index} of {tensor_count}")
        for index in range(tensor_count)
    ]
    data_start = _align(reader.offset, alignment)
    tensors = _place_tensors(reader, infos, data_start, alignment)
    return Part(path, version, metadata, tensors, tuple(reader.warnings))


class _Reader:
    """Reads little-endian fields one after another, and never past the end of the file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.offset = 0
        self.warnings: list[str] = []

    def error(self, subject: str, expected: str, found: str) -> GGUFError:
        return GGUFError(self.path, subject, expected, found)

    def skip(self, nbytes: int, subject: str) -> int:
        """Moves past `nbytes` bytes and returns where they start."""
        start = self.offset
        if nbytes > self.size - start:
            raise self.error(
                subject,
                f"{nbytes} bytes at offset {start}",
                f"{self.size - start} before the end of the file",
            )
        self.offset = start + nbytes
        return start

    def uint32(self, subject: str) -> int:
        return _UINT32_LAYOUT.unpack_from(self.data, self.skip(4, subject))[0]

    def uint64(self, subject: str) -> int:
        return _UINT64_LAYOUT.unpack_from(self.data, self.skip(8, subject))[0]

    def count(self, subject: str, item_bytes: int) -> int:
        """A 64-bit count of items that take at least `item_bytes` each."""
        count = self.uint64(subject)
        most = (self.size - self.offset) // item_bytes
        if count > most:
            raise self.error(
                subject, f"at most {most}, which is what the file has room for", str(count)
            )
        return count

    def string(self, subject: str, limit: int | None = None, *, strict: bool = True) -> str:
        length = self.uint64(subject)
        if limit is not None and length > limit:
            raise self.error(subject, f"a length of at most {limit} bytes", str(length))
        start = self.skip(length, subject)
        try:
            return self.data[start : self.offset].decode("utf-8")
        except UnicodeDecodeError as error:
            if not strict:
                self.warnings.append(f"{subject}: text that is not UTF-8")
                return self.data[start : self.offset].decode("utf-8", "replace")
            raise self.error(
                subject,
                "UTF-8 text",
                f"byte {error.object[error.start]:#04x} at offset {start + error.start}",
            ) from None

    def array(self, dtype: np.dtype, count: int, subject: str) -> np.ndarray:
        """A read-only view of `count` numbers; `count` is known to fit."""
        start = self.skip(count * dtype.itemsize, subject)
        # A bool is checked as the byte it is: numpy would call any of 255 values true.
        if dtype == np.bool_:
            raw = np.frombuffer(self.data, np.uint8, count, start)
            if count and raw.max() > 1:
                raise self.error(subject, "a bool of 0 or 1", str(raw.max()))
        return np.frombuffer(self.data, dtype, count, start)


def _read_version(reader: _Reader) -> int:
    start = reader.skip(len(MAGIC), "magic")
    magic = reader.data[start : reader.offset]
    if magic != MAGIC:
        raise reader.error("magic", repr(MAGIC), repr(magic))
    version = reader.uint32("version")
    if version not in VERSIONS:
        found = f"{version:#x}: a big-endian file" if version & 0xFFFF == 0 else str(version)
        raise reader.error("version", " or ".join(map(str, VERSIONS)), found)
    return version


def _read_metadata(reader: _Reader, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for index in range(count):
        key = reader.string(f"metadata key {index} of {count}", MAX_NAME_BYTES)
        subject = f"metadata {quoted(key)}"
        if key in metadata:
            raise reader.error(subject, "each key once", "it a second time")
        value_type = reader.uint32(subject)
        # Notes of a model's author may be in an old code; a vocabulary must be exact.
        strict = not key.startswith("general.")
        metadata[key] = _read_value(reader, value_type, subject, strict)
        if key == "general.alignment":
            _check_alignment(reader, value_type, metadata[key], subject)
    return metadata


def _read_value(reader: _Reader, value_type: int, subject: str, strict: bool) -> Any:
    if value_type == _STRING:
        return reader.string(subject, strict=strict)
    if value_type == _ARRAY:
        return _read_array(reader, subject)
    if value_type not in _SCALARS:
        raise reader.error(subject, "a value type of 0 to 12", str(value_type))
    return reader.array(np.dtype(_SCALARS[value_type]), 1, subject)[0].item()


def _read_array(reader: _Reader, subject: str) -> tuple[str, ...] | np.ndarray:
    item_type = reader.uint32(subject)
    if item_type == _STRING:
        count = reader.count(f"{subject} length", 8)
        return tuple(reader.string(subject) for _ in range(count))
    if item_type not in _SCALARS:
        raise reader.error(subject, "an array of numbers, bools or strings", f"type {item_type}")
    dtype = np.dtype(_SCALARS[item_type])
    return reader.array(dtype, reader.count(f"{subject} length", dtype.itemsize), subject)


def _check_alignment(reader: _Reader, value_type: int, value: Any, subject: str) -> None:
    if value_type != _UINT32:
        raise reader.error(subject, f"value type {_UINT32} (uint32)", f"type {value_type}")
    if value == 0 or value & (value - 1):
        raise reader.error(subject, "a power of two", str(value))


def _read_tensor_info(reader: _Reader, position: str) -> GGUFTensorInfo:
    """One entry; its offset is still relative to the start of the data."""
    name = reader.string(f"{position}: name", MAX_NAME_BYTES)
    subject = f"tensor {quoted(name)}"
    dimensions = reader.uint32(subject)
    if dimensions > MAX_DIMENSIONS:
        raise reader.error(subject, f"at most {MAX_DIMENSIONS} dimensions", str(dimensions))
    shape = tuple(reader.uint64(subject) for _ in range(dimensions))[::-1]
    if math.prod(shape) >= 2**63:
        raise reader.error(subject, "fewer than 2**63 elements", f"shape {shape}")
    type_id = reader.uint32(subject)
    try:
        ggml_type = GGMLQuantizationType(type_id)
    except ValueError:
        raise reader.error(subject, "a known ggml type id", f"id {type_id}") from None
    block_weights, block_bytes = GGML_QUANT_SIZES[ggml_type]
    columns = shape[-1] if shape else 1
    if columns % block_weights:
        raise reader.error(
            subject,
            f"rows of a multiple of {block_weights} weights for {ggml_type.name}",
            f"shape {shape}",
        )
    nbytes = math.prod(shape) // block_weights * block_bytes
    offset = reader.uint64(subject)
    return GGUFTensorInfo(reader.path, name, shape, ggml_type.name, offset, nbytes, reader.data)


def _place_tensors(
    reader: _Reader, infos: list[GGUFTensorInfo], data_start: int, alignment: int
) -> dict[str, GGUFTensorInfo]:
    """Checks that the tensors follow each other from the start of the data to the file's end.

    Neither gaps nor overlaps: a tensor's bytes are what lies between its offset and the next
    one's, so that a damaged shape or type cannot pass as a smaller tensor.
    """
    tensors: dict[str, GGUFTensorInfo] = {}
    end = 0
    previous = None
    for info in infos:
        subject = f"tensor {quoted(info.name)}"
        if info.name in tensors:
            raise reader.error(subject, "each name once", "it a second time")
        if info.offset % alignment:
            raise reader.error(
                subject, f"an offset that is a multiple of {alignment}", str(info.offset)
            )
        expected = _align(end, alignment)
        if info.offset != expected:
            if previous is None:
                raise reader.error(subject, "offset 0 for the first tensor", str(info.offset))
            raise reader.error(
                f"tensor {quoted(previous.name)}",
                f"{previous.nbytes} bytes for {previous.ggml_type} of shape {previous.shape}, "
                f"so that tensor {quoted(info.name)} starts at offset {expected}",
                f"offset {info.offset}",
            )
        start = data_start + info.offset
        if info.nbytes > reader.size - start:
            raise reader.error(
                subject,
                f"{info.nbytes} bytes for {info.ggml_type} of shape {info.shape} at offset {start}",
                f"{max(reader.size - start, 0)} before the end of the file",
            )
        tensors[info.name] = dataclasses.replace(info, offset=start)
        end = info.offset + info.nbytes
        previous = info
    more = reader.size - (data_start + _align(end, alignment))
    if previous is not None and more > 0:
        reader.warnings.append(
            f"tensor {quoted(previous.name)}: the last one, with {more} bytes of nothing after it"
        )
    return tensors


def _align(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
