"""Small random models as GGUF files, whose metadata and tensors a case changes.

They are written by the `gguf` package, with no code of this project, and their matrices are
float32: what llama.cpp computes from them is exact enough to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.field import vocabularies

HIDDEN, HEADS, KV_HEADS, SIZE, INNER, EXPERTS, EXPERT_INNER = 64, 4, 2, 16, 96, 4, 32
LAYERS, CONTEXT = 2, 128

Metadata = Mapping[str, Any]
Tensors = dict[str, np.ndarray]


def write(
    path: Path,
    kind: str,
    metadata: Metadata,
    change: Callable[[Tensors], None] = lambda tensors: None,
    *,
    layers: int = LAYERS,
) -> Path:
    """Writes a model of `kind`, a key of `KINDS`.

    Args:
        metadata: keys to add or replace. "*." stands for the architecture's prefix. A value of
            None leaves the key out; (value, type) and (values, ARRAY, type) choose the type.
        change: changes the tensors, by name, float32 with rows first.
        layers: how many; Gemma 3 has six for each of them.
    """
    architecture, fill, own, vocabulary = KINDS[kind]
    layers *= 6 if architecture == "gemma3" else 1
    values = {
        "general.name": "Tiny",
        "*.block_count": layers,
        "*.context_length": CONTEXT,
        "*.embedding_length": HIDDEN,
        "*.feed_forward_length": INNER,
        "*.attention.head_count": HEADS,
        "*.attention.head_count_kv": KV_HEADS,
        "*.attention.key_length": SIZE,
        "*.attention.value_length": SIZE,
        "*.attention.layer_norm_rms_epsilon": 1e-5,
        "*.rope.freq_base": 10000.0,
    }
    values |= own | vocabulary() | dict(metadata)
    tensors = fill(layers, len(values["tokenizer.ggml.tokens"]))
    change(tensors)
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in values.items():
        if value is not None:
            _add(writer, key.replace("*", architecture, 1), value)
    for name, numbers in tensors.items():
        writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, tuple):
        writer.add_key_value(key, *value)
        return
    add = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    add[type(value)](key, value)


class _Filler:
    """Random tensors in the order they are asked for."""

    def __init__(self, vocabulary: int) -> None:
        self.random = np.random.default_rng(0)
        self.tensors: Tensors = {}
        self.matrix("token_embd", vocabulary, HIDDEN)
        self.norm("output_norm", HIDDEN)

    def matrix(self, name: str, *shape: int) -> None:
        numbers = self.random.standard_normal(shape) * shape[-1] ** -0.5
        self.tensors[f"{name}.weight"] = numbers.astype(np.float32)

    def norm(self, name: str, size: int) -> None:
        self.tensors[f"{name}.weight"] = self.random.uniform(0.5, 1.5, size).astype(np.float32)

    def bias(self, name: str, size: int) -> None:
        self.tensors[f"{name}.bias"] = (self.random.standard_normal(size) * 0.3).astype(np.float32)

    def attention(self, layer: str, *, biases: bool = False, norms: bool = False) -> None:
        self.norm(f"{layer}.attn_norm", HIDDEN)
        self.norm(f"{layer}.ffn_norm", HIDDEN)
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            self.matrix(f"{layer}.attn_{name}", heads * SIZE, HIDDEN)
            if biases:
                self.bias(f"{layer}.attn_{name}", heads * SIZE)
            if norms and name != "v":
                self.norm(f"{layer}.attn_{name}_norm", SIZE)
        self.matrix(f"{layer}.attn_output", HIDDEN, HEADS * SIZE)

    def feed_forward(self, layer: str) -> None:
        for name in ("gate", "up"):
            self.matrix(f"{layer}.ffn_{name}", INNER, HIDDEN)
        self.matrix(f"{layer}.ffn_down", HIDDEN, INNER)

    def experts(self, layer: str, inner: int) -> None:
        self.matrix(f"{layer}.ffn_gate_inp", EXPERTS, HIDDEN)
        for name in ("gate", "up"):
            self.matrix(f"{layer}.ffn_{name}_exps", EXPERTS, inner, HIDDEN)
        self.matrix(f"{layer}.ffn_down_exps", EXPERTS, HIDDEN, inner)


def _filled(layer: Callable[[_Filler, str], None]) -> Callable[[int, int], Tensors]:
    def fill(layers: int, vocabulary: int) -> Tensors:
        filler = _Filler(vocabulary)
        for index in range(layers):
            layer(filler, f"blk.{index}")
        return filler.tensors

    return fill


def _llama(filler: _Filler, layer: str) -> None:
    filler.attention(layer)
    filler.feed_forward(layer)


def _mixtral(filler: _Filler, layer: str) -> None:
    filler.attention(layer)
    filler.experts(layer, INNER)


def _qwen2(filler: _Filler, layer: str) -> None:
    filler.attention(layer, biases=True)
    filler.feed_forward(layer)


def _qwen3(filler: _Filler, layer: str) -> None:
    filler.attention(layer, norms=True)
    filler.feed_forward(layer)


def _qwen3moe(filler: _Filler, layer: str) -> None:
    filler.attention(layer, norms=True)
    filler.experts(layer, EXPERT_INNER)


def _gemma3(filler: _Filler, layer: str) -> None:
    filler.attention(layer, norms=True)
    filler.feed_forward(layer)
    filler.norm(f"{layer}.post_attention_norm", HIDDEN)
    filler.norm(f"{layer}.post_ffw_norm", HIDDEN)


_EXPERTS = {"*.expert_count": EXPERTS, "*.expert_used_count": 2}
# The architecture, its tensors, its own keys and its tokens.
KINDS: Mapping[str, tuple[str, Callable[[int, int], Tensors], Metadata, Callable]] = {
    "llama": ("llama", _filled(_llama), {}, vocabularies.bpe),
    "mixtral": ("llama", _filled(_mixtral), _EXPERTS, vocabularies.bpe),
    "qwen2": ("qwen2", _filled(_qwen2), {}, vocabularies.bpe),
    "qwen3": ("qwen3", _filled(_qwen3), {}, vocabularies.bpe),
    "qwen3moe": (
        "qwen3moe",
        _filled(_qwen3moe),
        _EXPERTS | {"*.expert_feed_forward_length": EXPERT_INNER},
        vocabularies.bpe,
    ),
    "gemma3": (
        "gemma3",
        _filled(_gemma3),
        {"*.attention.sliding_window": 8, "*.rope.freq_base": 1000000.0},
        vocabularies.sentence_piece,
    ),
}


def vocabulary_size() -> int:
    """How many tokens every model has."""
    return vocabularies.SIZE
