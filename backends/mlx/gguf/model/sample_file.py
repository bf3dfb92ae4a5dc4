"""Writes the small GGUF file that the tests of this folder and of tests/robustness share."""

from __future__ import annotations

import math
from pathlib import Path

import gguf
import libgguf
import numpy as np

# name -> (ggml type, shape in torch's order). Q4_K and Q6_K have ragged numbers of rows.
TENSORS = {
    "blk.0.attn_q.weight": ("Q4_K", (12, 512)),
    "blk.0.ffn_down.weight": ("Q6_K", (7, 256)),
    "blk.0.ffn_up.weight": ("IQ4_NL", (4, 64)),
    "output_norm.weight": ("F32", (64,)),
}


def quantize(weights: np.ndarray, ggml_type: str) -> np.ndarray:
    """ggml's own quantization of float32 (..., columns) to uint8 (..., bytes per row)."""
    *rows, columns = weights.shape
    data = libgguf.quantize_rows_raw(gguf.GGMLQuantizationType[ggml_type],
                                     np.ascontiguousarray(weights, np.float32),
                                     math.prod(rows), columns)
    return np.frombuffer(data, np.uint8).reshape(*rows, -1)


def write_sample(path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]] | None = None,
                 seed: int = 0) -> Path:
    """Writes a file with one metadata value of each kind and `tensors` (default: TENSORS)."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "sample")
    writer.add_uint32("sample.block_count", 1)
    writer.add_float32("sample.epsilon", 1e-6)
    writer.add_bool("sample.flag", True)
    writer.add_array("tokenizer.ggml.tokens", ["<pad>", "\u2581a", "b"])
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.5, -2.5])
    for name, (ggml_type, shape) in (TENSORS if tensors is None else tensors).items():
        weights = random.standard_normal(shape).astype(np.float32)
        if ggml_type == "F32":
            writer.add_tensor(name, weights)
        else:
            writer.add_tensor(name, quantize(weights, ggml_type),
                              raw_dtype=gguf.GGMLQuantizationType[ggml_type])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
