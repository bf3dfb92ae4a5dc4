"""Writes small random models, and holds the truth to compare them with.

The truth is a `transformers` module in float32 with the weights that the file's blocks stand
for. What llama.cpp's converter does to a checkpoint is written down here a second time, from its
side: it must not be read from the code under test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

import gguf
from backends.mlx.gguf import formats
from backends.mlx.gguf.formats import testing as sample
from backends.mlx.gguf.model.testing_models import THETA, VOCABULARY, Tiny
from backends.mlx.gguf.tokenizer.testing import add_metadata, byte_level

_DENSE = {"F16": np.float16, "F32": np.float32}


def write(tiny: Tiny, path: Path, *, leave_out: str = "") -> PreTrainedModel:
    """Writes the file and returns the truth; a tensor named `leave_out` is not written."""
    torch.manual_seed(0)
    truth = AutoModelForCausalLM.from_config(
        tiny.config,
        attn_implementation="eager",
        experts_implementation="eager",
        dtype=torch.float32,
    ).eval()
    writer = gguf.GGUFWriter(path, tiny.architecture)
    _add_metadata(writer, tiny)
    add_metadata(writer, byte_level(VOCABULARY))
    with torch.no_grad():
        for index, (name, value) in enumerate(_tensors(tiny, truth)):
            ggml_type = tiny.types[index % len(tiny.types)] if value.dim() > 1 else "F32"
            if "ffn_gate_inp" in name:
                ggml_type = tiny.router_type
            data = _fill(tiny, name, value, ggml_type)
            if name != leave_out:
                kind = gguf.GGMLQuantizationType[ggml_type]
                writer.add_tensor(name, data, raw_dtype=kind)
    if tiny.rope_factors:
        factors = np.array(tiny.rope_factors, np.float32)
        writer.add_tensor("rope_freqs.weight", factors)
        truth.model.rotary_emb.inv_freq /= torch.from_numpy(factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return truth


def _tensors(tiny: Tiny, truth: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """The file's tensors, by name, as parameters of the truth or parts of them."""
    ids = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(ids[tiny.architecture], tiny.config.num_hidden_layers)
    for parameter, value in truth.named_parameters():
        stem, _, suffix = parameter.rpartition(".")
        if suffix == "gate_up_proj":
            for part, half in zip(("gate_proj", "up_proj"), value.chunk(2, dim=1), strict=True):
                yield f"{names.get_name(f'{stem}.{part}')}.weight", half
        elif suffix == "down_proj":
            yield f"{names.get_name(parameter)}.weight", value
        else:
            yield f"{names.get_name(stem)}.{suffix}", value


def _fill(tiny: Tiny, name: str, value: torch.Tensor, ggml_type: str) -> np.ndarray:
    """Sets a parameter of the truth, and returns what the file holds for it."""
    if name.endswith("norm.weight"):
        # Not 1, which would hide a forgotten norm; numbers that bfloat16 holds.
        held = (torch.rand(value.shape) + 0.5).bfloat16().float()
        value.copy_(held - 1 if tiny.architecture == "gemma3" else held)
        return held.numpy()
    if value.dim() == 1:
        value.copy_(torch.randn(value.shape) * 0.1)
        return value.numpy()
    numbers = (torch.randn(value.shape) * value.shape[-1] ** -0.5).numpy()
    if ggml_type in _DENSE:
        held = numbers.astype(_DENSE[ggml_type])
        numbers = held.astype(np.float32)
    else:
        fmt = formats.get(ggml_type)
        rows = sample.quantize(fmt, numbers.reshape(-1, numbers.shape[-1]))
        held = rows.reshape(*numbers.shape[:-1], -1)
        numbers = formats.dequantize(fmt, rows).reshape(numbers.shape)
    value.copy_(torch.from_numpy(numbers))
    kind = name.split(".")[-2]
    if tiny.architecture == "llama" and kind in ("attn_q", "attn_k"):
        held = _interleaved(held, value.shape[0] // tiny.config.head_dim)
    return held


def _interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows in the order of ggml's rotation: of each head 0, n/2, 1, n/2 + 1, ..."""
    per_head = rows.reshape(heads, 2, -1, rows.shape[1])
    return np.ascontiguousarray(per_head.swapaxes(1, 2)).reshape(rows.shape)


def _add_metadata(writer: gguf.GGUFWriter, tiny: Tiny) -> None:
    config = tiny.config
    writer.add_name(f"Tiny {tiny.architecture}")
    values = {
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": THETA,
    } | tiny.metadata
    add_metadata(
        writer,
        {f"{tiny.architecture}.{key}": value for key, value in values.items() if value is not None},
    )
