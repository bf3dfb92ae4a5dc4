"""Small models of every architecture, for `tiny_file.write`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers import (
    Gemma3TextConfig,
    LlamaConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

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
