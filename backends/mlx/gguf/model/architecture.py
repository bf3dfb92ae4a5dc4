"""The architectures that can be exported: one row each, from a file's metadata to a config.

The networks are those of the `transformers` library. A row says how llama.cpp's metadata becomes
the configuration of one, and whether its converter changed the weights on their way into the file.
The keys are those of ggml's `docs/gguf.md` and of llama.cpp's `gguf-py/gguf/constants.py`; keys
that no row reads are in `keys.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.model import rope
from backends.mlx.gguf.model.hyperparameters import Hyperparameters, architecture_name, common
from backends.mlx.gguf.model.rope import Rope

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Architecture:
    """How files of one `general.architecture` are read.

    Attributes:
        name: the value of `general.architecture`.
        config: makes the `transformers` config of a file, from its hyperparameters and what
            `common` reads of them. The rotary embedding and the biases in it are of no account:
            they are set from the file.
        interleaved_rope: the rows of q and k are in the order for a rotation of neighbours,
            (0, 1), (2, 3), ..., where `transformers` rotates (0, n/2), (1, n/2 + 1), ...
        rope_tensors: files may hold divisors of the rotation's frequencies.
        local_base: of the rotation in layers with a sliding window, by their metadata; None: they
            rotate like all others.
        unscaled: matrices whose factors (`NAME.scale`) llama.cpp reads and does not apply.
    """

    name: str
    config: Callable[[Hyperparameters, dict[str, Any]], PretrainedConfig]
    interleaved_rope: bool = False
    rope_tensors: bool = False
    local_base: Callable[[Hyperparameters], float] | None = None
    unscaled: tuple[str, ...] = ()

    def ropes(self, file: GGUFFile, cache_length: int) -> dict[str, Rope]:
        """The rotary embedding of each kind of layer, by `transformers`' names of them.

        A single one has the name "". `cache_length` as in `rope.read`.

        Raises:
            GGUFError: metadata or a tensor is missing or wrong.
        """
        values = Hyperparameters(file)
        everywhere = rope.read(values, cache_length, tensors=self.rope_tensors)
        if self.local_base is None:
            return {"": everywhere}
        return {
            "full_attention": everywhere,
            "sliding_attention": everywhere.unscaled(self.local_base(values)),
        }


# What a file with no text model in it is, by `general.type` or by its architecture.
_OTHERS = {
    "adapter": "an adapter (LoRA), which changes another model",
    "mmproj": "the vision or audio part of a model (mmproj)",
    "clip": "the vision or audio part of a model (mmproj)",
    "imatrix": "the statistics that a quantizer uses (an importance matrix)",
    "vocab": "a vocabulary without a model",
}


def of_file(file: GGUFFile) -> Architecture:
    """The row of a file.

    Raises:
        GGUFError: the file is no text model, or of no row; it names what it is, or the rows.
    """
    for key in ("general.type", "general.architecture"):
        kind = file.optional(key, str, "model")
        if kind in _OTHERS:
            raise GGUFError(file.path, key, "a text model", _OTHERS[kind])
    name = architecture_name(file)
    if name not in ARCHITECTURES:
        raise GGUFError(
            file.path, "general.architecture", f"one of {', '.join(ARCHITECTURES)}", name
        )
    if not file.tensors:
        raise GGUFError(file.path, "tensors", "the weights of a model", _OTHERS["vocab"])
    return ARCHITECTURES[name]


def config_of(file: GGUFFile) -> PretrainedConfig:
    """The `transformers` config of a file.

    Raises:
        GGUFError: metadata is missing or wrong, or makes a network that `transformers` has not.
    """
    values = Hyperparameters(file)
    row = of_file(file)
    arguments = common(values)
    try:
        return row.config(values, arguments)
    except GGUFError:
        raise
    except Exception as error:
        # The config classes check their values, each in its own way.
        reason = str(error.__cause__ or error) or type(error).__name__
        raise GGUFError(
            file.path,
            f"metadata of the {row.name} network",
            "values that transformers has a network for",
            " ".join(reason.split()),
        ) from error


def _feed_forward(values: Hyperparameters) -> int:
    return values.layers_count("feed_forward_length")


def _experts_used(values: Hyperparameters, experts: int) -> int:
    """How many experts of a layer each token goes through, at most as many as there are."""
    used = values.layers_count("expert_used_count")
    if used > experts:
        raise values.error("expert_used_count", f"at most the number of experts, {experts}", used)
    return used


def _llama(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import LlamaConfig, MixtralConfig

    arguments["intermediate_size"] = _feed_forward(values)
    experts = values.count("expert_count", 0, least=0)
    if experts:
        return MixtralConfig(
            **arguments,
            num_local_experts=experts,
            num_experts_per_tok=_experts_used(values, experts),
        )
    return LlamaConfig(**arguments)


def _qwen2(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import Qwen2Config

    return Qwen2Config(
        **arguments, intermediate_size=_feed_forward(values), use_sliding_window=False
    )


def _qwen3(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import Qwen3Config

    return Qwen3Config(
        **arguments, intermediate_size=_feed_forward(values), use_sliding_window=False
    )


def _qwen3moe(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import Qwen3MoeConfig

    experts = values.count("expert_count")
    used = _experts_used(values, experts)
    # Of dense layers, of which the architecture has none. Where a file does not say how wide an
    # expert is, llama.cpp divides it.
    dense = values.layers_count("feed_forward_length", 0, least=0)
    return Qwen3MoeConfig(
        **arguments,
        use_sliding_window=False,
        moe_intermediate_size=values.count("expert_feed_forward_length", dense // used),
        num_experts=experts,
        num_experts_per_tok=used,
        norm_topk_prob=True,
    )


# Of Gemma 3's shape, what files need not say: llama.cpp has these numbers in its code too.
_GEMMA3_LOCAL_BASE = 10000.0
_GEMMA3_LAYERS_PER_GLOBAL = 6
_GEMMA3_27B_LAYERS = 62


def _gemma3(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import Gemma3TextConfig

    for name in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        size = values.count(f"{name}_swa", arguments["head_dim"])
        if size != arguments["head_dim"]:
            raise values.error(f"{name}_swa", "the size of all heads", size)
    layers = arguments["num_hidden_layers"]
    # Scores are divided by the square root of this; the largest model takes another number.
    scale = arguments["head_dim"]
    if layers == _GEMMA3_27B_LAYERS:
        scale = arguments["hidden_size"] // arguments["num_attention_heads"]
    window = values.count("attention.sliding_window", 0, least=0)
    # Every how many layers one sees all positions; 0: none does.
    period = values.count("attention.sliding_window_pattern", _GEMMA3_LAYERS_PER_GLOBAL, least=0)
    if period == 1:
        raise values.error("attention.sliding_window_pattern", "0 or more than 1", period)
    cap = values.number("final_logit_softcapping", 0.0)
    return Gemma3TextConfig(
        **arguments,
        intermediate_size=_feed_forward(values),
        query_pre_attn_scalar=scale,
        # Without a window no layer is of the kind that has one.
        sliding_window=window or arguments["max_position_embeddings"],
        layer_types=[
            "sliding_attention"
            if window and (period == 0 or (layer + 1) % period)
            else "full_attention"
            for layer in range(layers)
        ],
        final_logit_softcapping=cap or None,
    )


def _gemma3_local_base(values: Hyperparameters) -> float:
    return values.number("rope.freq_base_swa", _GEMMA3_LOCAL_BASE)


_FEED_FORWARD = ("ffn_gate", "ffn_up", "ffn_down")

ARCHITECTURES: Mapping[str, Architecture] = {
    row.name: row
    for row in (
        Architecture("llama", _llama, interleaved_rope=True, rope_tensors=True),
        Architecture("qwen2", _qwen2, unscaled=_FEED_FORWARD),
        Architecture("qwen3", _qwen3),
        Architecture("qwen3moe", _qwen3moe),
        Architecture("gemma3", _gemma3, local_base=_gemma3_local_base, unscaled=_FEED_FORWARD),
    )
}
