"""Small random models of every architecture: as files, and as the truth to compare with.

The truth is a `transformers` module in float32 with the weights that the file's blocks stand
for. What llama.cpp's converter does to a checkpoint is written down here a second time, from its
side: it must not be read from the code under test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MixtralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

import gguf
from backends.mlx.gguf import formats
from backends.mlx.gguf.checkpoint import testing as checkpoint
from backends.mlx.gguf.formats import testing as sample
from backends.mlx.gguf.tokenizer.testing import byte_level

VOCABULARY = 320
LAYERS = 2
_SIZES = dict(
    vocab_size=VOCABULARY,
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
)
THETA = 10000.0
_DENSE = {"F16": np.float16, "F32": np.float32}


@dataclass(frozen=True)
class Tiny:
    """A model to write: its architecture, its `transformers` config and further metadata.

    A value of None leaves a key out. The matrices take the `types` in turn, but for a router.
    """

    architecture: str
    config: PretrainedConfig
    metadata: dict[str, Any] = field(default_factory=dict)
    rope_factors: tuple[float, ...] = ()
    types: tuple[str, ...] = ("Q4_K", "Q6_K", "Q8_0", "Q5_0")
    router_type: str = "F32"

    def write(self, path: Path, *, leave_out: str = "") -> PreTrainedModel:
        """Writes the file and returns the truth; a tensor named `leave_out` is not written."""
        torch.manual_seed(0)
        truth = AutoModelForCausalLM.from_config(
            self.config,
            attn_implementation="eager",
            experts_implementation="eager",
            dtype=torch.float32,
        ).eval()
        tensors: dict[str, checkpoint.Tensor] = {}
        with torch.no_grad():
            for index, (name, value) in enumerate(_parameters(self, truth)):
                ggml_type = self.types[index % len(self.types)] if value.dim() > 1 else "F32"
                if "ffn_gate_inp" in name:
                    ggml_type = self.router_type
                tensors[name] = _fill(self, name, value, ggml_type)
        tensors.pop(leave_out, None)
        if self.rope_factors:
            factors = np.array(self.rope_factors, np.float32)
            tensors["rope_freqs.weight"] = factors
            truth.model.rotary_emb.inv_freq /= torch.from_numpy(factors)
        checkpoint.write(path, _metadata(self) | byte_level(VOCABULARY), tensors)
        return truth


def _parameters(tiny: Tiny, truth: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
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


def _fill(tiny: Tiny, name: str, value: torch.Tensor, ggml_type: str) -> checkpoint.Tensor:
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
    return held if ggml_type in _DENSE else (ggml_type, held)


def _interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows in the order of ggml's rotation: of each head 0, n/2, 1, n/2 + 1, ..."""
    per_head = rows.reshape(heads, 2, -1, rows.shape[1])
    return np.ascontiguousarray(per_head.swapaxes(1, 2)).reshape(rows.shape)


def _metadata(tiny: Tiny) -> dict[str, Any]:
    config = tiny.config
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
    return {
        "general.architecture": tiny.architecture,
        "general.name": f"Tiny {tiny.architecture}",
        **{f"{tiny.architecture}.{key}": it for key, it in values.items() if it is not None},
    }


def _rope(theta: float = THETA, **scaling) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta} | scaling


def _llama3_factors() -> tuple[float, ...]:
    """Of the frequencies of a head: 1 for the fast half, 8 for the slow half, as Llama 3's end."""
    return (1.0,) * 16 + (8.0,) * 16


def _gemma3() -> Tiny:
    config = Gemma3TextConfig(
        **_SIZES | {"num_hidden_layers": 6},
        query_pre_attn_scalar=64,
        sliding_window=8,
        layer_types=["sliding_attention"] * 5 + ["full_attention"],
        rope_parameters={"full_attention": _rope(1000000.0), "sliding_attention": _rope()},
        tie_word_embeddings=True,
    )
    metadata = {"attention.sliding_window": 8, "rope.freq_base": 1000000.0}
    return Tiny("gemma3", config, metadata, types=("Q4_0", "Q5_1", "Q8_0"))


def _qwen3moe() -> Tiny:
    config = Qwen3MoeConfig(
        **_SIZES,
        rope_parameters=_rope(),
        tie_word_embeddings=False,
        num_experts=8,
        num_experts_per_tok=3,
        moe_intermediate_size=256,
        norm_topk_prob=True,
    )
    metadata = {"expert_count": 8, "expert_used_count": 3, "expert_feed_forward_length": 256}
    return Tiny("qwen3moe", config, metadata, types=("Q4_K", "Q6_K", "Q8_0", "Q5_K", "IQ4_XS"))


def _mixtral() -> Tiny:
    config = MixtralConfig(
        **_SIZES,
        rope_parameters=_rope(),
        tie_word_embeddings=True,
        num_local_experts=4,
        num_experts_per_tok=2,
    )
    metadata = {"expert_count": 4, "expert_used_count": 2}
    return Tiny("llama", config, metadata, types=("Q4_0", "F16", "Q6_K"), router_type="Q8_0")


MODELS = {
    "llama": lambda: Tiny(
        "llama", LlamaConfig(**_SIZES, rope_parameters=_rope(), tie_word_embeddings=True)
    ),
    "llama-untied": lambda: Tiny(
        "llama",
        LlamaConfig(**_SIZES, rope_parameters=_rope(500000.0), tie_word_embeddings=False),
        {"rope.freq_base": 500000.0},
        types=("Q5_K", "Q4_1", "F16"),
    ),
    "llama3-factors": lambda: Tiny(
        "llama",
        LlamaConfig(**_SIZES, rope_parameters=_rope(), tie_word_embeddings=True),
        rope_factors=_llama3_factors(),
    ),
    "llama-linear": lambda: Tiny(
        "llama",
        LlamaConfig(
            **_SIZES,
            rope_parameters=_rope(rope_type="linear", factor=4.0),
            tie_word_embeddings=True,
        ),
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    ),
    "qwen2": lambda: Tiny(
        "qwen2", Qwen2Config(**_SIZES, rope_parameters=_rope(), tie_word_embeddings=True)
    ),
    "qwen2-yarn": lambda: Tiny(
        "qwen2",
        Qwen2Config(
            **_SIZES,
            tie_word_embeddings=True,
            rope_parameters=_rope(
                rope_type="yarn", factor=4.0, original_max_position_embeddings=128
            ),
        ),
        {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 128,
        },
    ),
    "qwen3": lambda: Tiny(
        "qwen3", Qwen3Config(**_SIZES, rope_parameters=_rope(), tie_word_embeddings=False)
    ),
    "qwen3moe": _qwen3moe,
    "mixtral": _mixtral,
    "gemma3": _gemma3,
}
