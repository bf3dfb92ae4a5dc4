"""The one writer of GGUF files for tests, and the small files that many of them share.

Sound files are written by the `gguf` package, the reference, so that the reader is not tested on
our own idea of the format. Damaged ones come from `raw_file`, which checks nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gguf
from backends.mlx.gguf.checkpoint.tensor import DENSE_TYPES
from backends.mlx.gguf.formats.testing import libgguf

# Numbers (float32, float16 or float64), or a ggml type and uint8 (..., bytes per row).
Tensor = np.ndarray | tuple[str, np.ndarray]
# name -> (ggml type, shape in torch's order)
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]

# Q4_K and Q6_K have ragged numbers of rows; no path takes F64.
TENSORS: Shapes = {
    "blk.0.attn_q.weight": ("Q4_K", (12, 512)),
    "blk.0.ffn_down.weight": ("Q6_K", (7, 256)),
    "blk.0.ffn_up.weight": ("F64", (4, 64)),
    "output_norm.weight": ("F32", (64,)),
}
# One value of each kind.
_METADATA = {
    "sample.block_count": 1,
    "sample.epsilon": 1e-6,
    "sample.flag": True,
    "tokenizer.ggml.tokens": ["<pad>", "\u2581a", "b"],
    "tokenizer.ggml.scores": [0.0, -1.5, -2.5],
}
_VALUE_TYPES = {
    bool: gguf.GGUFValueType.BOOL,
    int: gguf.GGUFValueType.UINT32,
    float: gguf.GGUFValueType.FLOAT32,
    str: gguf.GGUFValueType.STRING,
    list: gguf.GGUFValueType.ARRAY,
}


def write(
    path: Path,
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
    *,
    tensors_per_file: int = 0,
) -> Path:
    """Writes a file; returns `path`.

    Args:
        metadata: values are bools, integers (stored as uint32), floats (float32), strings, or
            lists of one of them. The architecture is "sample" unless it is here.
        tensors: by name, in the file's order.
        tensors_per_file: split the model into files `NAME-0000N-of-0000M.gguf` of so many tensors
            each; 0: one file. At `path` itself then is none.
    """
    metadata = {"general.architecture": "sample"} | dict(metadata or {})
    writer = gguf.GGUFWriter(
        None, metadata.pop("general.architecture"), split_max_tensors=tensors_per_file
    )
    for key, value in metadata.items():
        if key == "general.alignment":
            writer.add_custom_alignment(value)
        else:
            writer.add_key_value(key, value, _VALUE_TYPES[type(value)])
    for name, tensor in (tensors or {}).items():
        if isinstance(tensor, tuple):
            ggml_type, blocks = tensor
            writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType[ggml_type])
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_sample(path: Path, shapes: Shapes = TENSORS) -> Path:
    """Writes a file with one metadata value of each kind and random tensors of `shapes`."""
    return write(path, _METADATA, _random(shapes))


def write_split(folder: Path, shapes: Shapes = TENSORS) -> list[Path]:
    """The same model as `write_sample` in one file for each tensor, `split-0000N-of-0000M.gguf`."""
    write(folder / "split.gguf", _METADATA, _random(shapes), tensors_per_file=1)
    return sorted(folder.glob("split-*.gguf"))


def _random(shapes: Shapes) -> dict[str, Tensor]:
    random = np.random.default_rng(0)
    return {
        name: (ggml_type, _quantize(random.standard_normal(shape).astype(np.float32), ggml_type))
        for name, (ggml_type, shape) in shapes.items()
    }


def _quantize(weights: np.ndarray, ggml_type: str) -> np.ndarray:
    """float32 (..., columns) as uint8 (..., bytes per row), quantized as ggml itself does."""
    if ggml_type == "F64":
        return weights.astype("<f8").view(np.uint8)
    if ggml_type in DENSE_TYPES:
        data = gguf.quants.quantize(weights, gguf.GGMLQuantizationType[ggml_type])
        return data.view(np.uint8)
    *rows, columns = weights.shape
    data = libgguf().quantize_rows_raw(
        gguf.GGMLQuantizationType[ggml_type], weights, math.prod(rows), columns
    )
    return np.frombuffer(data, np.uint8).reshape(*rows, -1)


def raw_file(
    metadata: Sequence[tuple[bytes, int, bytes]] = (),
    tensors: Sequence[tuple[bytes, Sequence[int], int, int]] = (),
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """The bytes of a file that says anything, as gguf.md lays it out.

    Args:
        metadata: key, value type's id and encoded value of each entry.
        tensors: name, dimensions in ggml's order, type's id and offset of each entry.
        data: what follows the header and its padding to 32 bytes.
        counts: of tensors and of metadata, by default those that there are.
    """
    header = magic + struct.pack("<IQQ", version, *(counts or (len(tensors), len(metadata))))
    for key, value_type, value in metadata:
        header += raw_string(key) + struct.pack("<I", value_type) + value
    for name, dimensions, type_id, offset in tensors:
        header += raw_string(name) + struct.pack("<I", len(dimensions))
        header += struct.pack(f"<{len(dimensions)}QIQ", *dimensions, type_id, offset)
    return header + bytes(-len(header) % 32) + data


def raw_string(text: bytes) -> bytes:
    """A string as a file holds it: its length, then its bytes."""
    return struct.pack("<Q", len(text)) + text
