"""Writes the small GGUF files that the tests of this folder and of tests/robustness share."""

from __future__ import annotations

import math
from pathlib import Path

import libgguf
import numpy as np

import gguf
from backends.mlx.gguf.checkpoint.tensor import DENSE_TYPES

# name -> (ggml type, shape in torch's order)
Tensors = dict[str, tuple[str, tuple[int, ...]]]

# Q4_K and Q6_K have ragged numbers of rows; no path takes F64.
TENSORS: Tensors = {
    "blk.0.attn_q.weight": ("Q4_K", (12, 512)),
    "blk.0.ffn_down.weight": ("Q6_K", (7, 256)),
    "blk.0.ffn_up.weight": ("F64", (4, 64)),
    "output_norm.weight": ("F32", (64,)),
}


def quantize(weights: np.ndarray, ggml_type: str) -> np.ndarray:
    """float32 (..., columns) as uint8 (..., bytes per row), quantized as ggml itself does."""
    if ggml_type == "F64":
        return weights.astype("<f8").view(np.uint8)
    if ggml_type in DENSE_TYPES:
        data = gguf.quants.quantize(weights, gguf.GGMLQuantizationType[ggml_type])
        return data.view(np.uint8)
    *rows, columns = weights.shape
    data = libgguf.quantize_rows_raw(
        gguf.GGMLQuantizationType[ggml_type],
        np.ascontiguousarray(weights, np.float32),
        math.prod(rows),
        columns,
    )
    return np.frombuffer(data, np.uint8).reshape(*rows, -1)


def write_sample(path: Path, tensors: Tensors | None = None, seed: int = 0) -> Path:
    """Writes a file with one metadata value of each kind and `tensors` (default: TENSORS)."""
    return _write(gguf.GGUFWriter(path, "sample"), path, tensors, seed)


def write_split(folder: Path, tensors: Tensors | None = None, seed: int = 0) -> list[Path]:
    """The same model as `write_sample` in one file for each tensor, `split-0000N-of-0000M.gguf`."""
    writer = gguf.GGUFWriter(None, "sample", split_max_tensors=1)
    _write(writer, folder / "split.gguf", tensors, seed)
    return sorted(folder.glob("split-*.gguf"))


def _write(writer: gguf.GGUFWriter, path: Path, tensors: Tensors | None, seed: int) -> Path:
    random = np.random.default_rng(seed)
    writer.add_uint32("sample.block_count", 1)
    writer.add_float32("sample.epsilon", 1e-6)
    writer.add_bool("sample.flag", True)
    writer.add_array("tokenizer.ggml.tokens", ["<pad>", "\u2581a", "b"])
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.5, -2.5])
    for name, (ggml_type, shape) in (TENSORS if tensors is None else tensors).items():
        weights = random.standard_normal(shape).astype(np.float32)
        writer.add_tensor(
            name, quantize(weights, ggml_type), raw_dtype=gguf.GGMLQuantizationType[ggml_type]
        )
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
