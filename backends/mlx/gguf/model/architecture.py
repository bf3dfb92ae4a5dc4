"""The architectures that can be exported: one row each, from a file's metadata to a config.

The networks are those of the `transformers` library. A row says how llama.cpp's metadata becomes
the configuration of one, and whether its converter changed the weights on their way into the file.
The keys are those of ggml's `docs/gguf.md` and of llama.cpp's `gguf-py/gguf/constants.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Hyperparameters:
    """The metadata of a file under its architecture's prefix, checked as it is read."""

    def __init__(self, file: GGUFFile):
        self.file = file
        self.architecture = architecture_name(file)

    def require(self, name: str, kind: type) -> Any:
        """The value of `<architecture>.<name>`, of `kind`, as `GGUFFile.require` takes it.

        Raises:
            GGUFError: there is none, or it is of another kind.
        """
        return self.file.require(f"{self.architecture}.{name}", kind)

    def optional(self, name: str, kind: type, default: Any) -> Any:
        """The same, `default` if the file has no such key."""
        return self.file.optional(f"{self.architecture}.{name}", kind, default)

    def count(self, name: str, default: int | None = None) -> int:
        """A positive int, `default` if that is given and the file has no such key.

        Raises:
            GGUFError: it is missing, no integer or not positive.
        """
        value = self.require(name, int) if default is None else self.optional(name, int, default)
        if value < 1:
            raise self.error(name, "a positive number", value)
        return value

    def error(self, name: str, expected: str, found: Any) -> GGUFError:
        """What to raise for a value that the architecture cannot have."""
        return GGUFError(self.file.path, f"{self.architecture}.{name}", expected, str(found))

    def has(self, tensor: str) -> bool:
        """Whether the file holds a tensor of that name."""
        return tensor in self.file.tensors


@dataclass(frozen=True)
class Architecture:
    """How files of one `general.architecture` are read.

    Attributes:
        name: the value of `general.architecture`.
        config: makes the `transformers` config of a file, from its hyperparameters and what
            `common` reads of them.
        interleaved_rope: the rows of q and k are in the order for a rotation of neighbours,
            (0, 1), (2, 3), ..., where `transformers` rotates (0, n/2), (1, n/2 + 1), ...
    """

    name: str
    config: Callable[[Hyperparameters, dict[str, Any]], PretrainedConfig]
    interleaved_rope: bool = False


def architecture_name(file: GGUFFile) -> str:
    """The file's `general.architecture`.

    Raises:
        GGUFError: it is absent or not a string.
    """
    return file.require("general.architecture", str)


def of_file(file: GGUFFile) -> Architecture:
    """The row of a file.

    Raises:
        GGUFError: there is none; it names the supported ones.
    """
    name = architecture_name(file)
    if name not in ARCHITECTURES:
        raise GGUFError(
            file.path, "general.architecture", f"one of {', '.join(ARCHITECTURES)}", name
        )
    return ARCHITECTURES[name]


def config_of(file: GGUFFile) -> PretrainedConfig:
    """The `transformers` config of a file.

    Raises:
        GGUFError: metadata is missing or wrong.
    """
    hyperparameters = Hyperparameters(file)
    return of_file(file).config(hyperparameters, common(hyperparameters))


def common(values: Hyperparameters) -> dict[str, Any]:
    """What all decoders have: the arguments of a `transformers` config.

    Raises:
        GGUFError: metadata or the embedding is missing or wrong.
    """
    hidden = values.count("embedding_length")
    heads = values.count("attention.head_count")
    head_dim = values.count("attention.key_length", hidden // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        size = values.count(key, head_dim)
        if size != head_dim:
            raise values.error(key, f"the size of a head, {head_dim}", size)
    embedding = values.file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        found = "no such tensor" if embedding is None else f"shape {list(embedding.shape)}"
        raise GGUFError(values.file.path, "tensor token_embd.weight", "a matrix", found)
    return dict(
        vocab_size=embedding.shape[0],
        hidden_size=hidden,
        intermediate_size=values.count("feed_forward_length"),
        num_hidden_layers=values.count("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=values.count("attention.head_count_kv", heads),
        head_dim=head_dim,
        rms_norm_eps=values.require("attention.layer_norm_rms_epsilon", float),
        max_position_embeddings=values.count("context_length"),
        tie_word_embeddings=not values.has("output.weight"),
    )


def rope(values: Hyperparameters, theta: float = 10000.0) -> dict[str, Any]:
    """The rotary embedding as `rope_parameters` of a config.

    theta: the base of the frequencies, for a file that names none.
    Llama 3's scaling is not here: the file holds its factors as the tensor rope_freqs.weight.
    """
    parameters: dict[str, Any] = {
        "rope_type": "default",
        "rope_theta": values.optional("rope.freq_base", float, theta),
    }
    scaling = values.optional("rope.scaling.type", str, "none")
    if scaling in ("linear", "yarn"):
        parameters.update(rope_type=scaling, factor=values.require("rope.scaling.factor", float))
    elif scaling != "none":
        raise values.error("rope.scaling.type", "none, linear or yarn", scaling)
    if scaling == "yarn":
        parameters["original_max_position_embeddings"] = values.count(
            "rope.scaling.original_context_length"
        )
    return parameters


def experts_used(values: Hyperparameters) -> int:
    """How many experts of a layer each token goes through, at most as many as there are."""
    experts, used = values.count("expert_count"), values.count("expert_used_count")
    if used > experts:
        raise values.error("expert_used_count", f"at most the number of experts, {experts}", used)
    return used


def _llama(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import LlamaConfig, MixtralConfig

    if values.optional("expert_count", int, 0):
        return MixtralConfig(
            **arguments,
            rope_parameters=rope(values),
            num_local_experts=values.count("expert_count"),
            num_experts_per_tok=experts_used(values),
        )
    return LlamaConfig(
        **arguments,
        rope_parameters=rope(values),
        attention_bias=values.has("blk.0.attn_q.bias"),
        mlp_bias=values.has("blk.0.ffn_gate.bias"),
    )


def _qwen2(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import Qwen2Config

    return Qwen2Config(**arguments, rope_parameters=rope(values), use_sliding_window=False)


def _qwen3(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import Qwen3Config

    return Qwen3Config(
        **arguments,
        rope_parameters=rope(values),
        use_sliding_window=False,
        attention_bias=values.has("blk.0.attn_q.bias"),
    )


def _qwen3moe(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import Qwen3MoeConfig

    return Qwen3MoeConfig(
        **arguments,
        rope_parameters=rope(values),
        use_sliding_window=False,
        attention_bias=values.has("blk.0.attn_q.bias"),
        moe_intermediate_size=values.count("expert_feed_forward_length"),
        num_experts=values.count("expert_count"),
        num_experts_per_tok=experts_used(values),
        norm_topk_prob=True,
    )


# Of Gemma 3's shape, what files do not say: llama.cpp has these numbers in its code too.
_GEMMA3_LOCAL_THETA = 10000.0
_GEMMA3_LAYERS_PER_GLOBAL = 6
_GEMMA3_27B_LAYERS = 62


def _gemma3(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import Gemma3TextConfig

    layers = arguments["num_hidden_layers"]
    local = {
        "rope_type": "default",
        "rope_theta": values.optional("rope.freq_base_swa", float, _GEMMA3_LOCAL_THETA),
    }
    # Scores are divided by the square root of this; the largest model takes another number.
    scale = arguments["head_dim"]
    if layers == _GEMMA3_27B_LAYERS:
        scale = arguments["hidden_size"] // arguments["num_attention_heads"]
    return Gemma3TextConfig(
        **arguments,
        query_pre_attn_scalar=scale,
        sliding_window=values.count("attention.sliding_window"),
        layer_types=[
            "sliding_attention" if (layer + 1) % _GEMMA3_LAYERS_PER_GLOBAL else "full_attention"
            for layer in range(layers)
        ],
        rope_parameters={
            "full_attention": rope(values, theta=1000000.0),
            "sliding_attention": local,
        },
    )


ARCHITECTURES: Mapping[str, Architecture] = {
    row.name: row
    for row in (
        Architecture("llama", _llama, interleaved_rope=True),
        Architecture("qwen2", _qwen2),
        Architecture("qwen3", _qwen3),
        Architecture("qwen3moe", _qwen3moe),
        Architecture("gemma3", _gemma3),
    )
}
