"""What files in the field have, and what is right: one row each.

A case changes a small model of `models.py`. What llama.cpp runs, this project runs with the same
logits, or refuses in one line; `refused` is what that line must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gguf import GGUFValueType

from tests.field.models import HEADS, HIDDEN, INNER, KINDS, KV_HEADS, SIZE, Tensors

Change = Callable[[Tensors], None]

# q, k and v together.
_QKV_ROWS = (HEADS + 2 * KV_HEADS) * SIZE


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        name: of the case, unique.
        kind: of the model, a key of `models.KINDS`.
        metadata: as `models.write` takes it.
        changes: to the tensors, one after another.
        refused: a part of the message; none: the logits are llama.cpp's.
        tolerance: the largest difference of a logit, over their standard deviation.
        warned: a part of a warning.
        layers: as `models.write` takes it.
    """

    name: str
    kind: str = "llama"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    refused: str = ""
    tolerance: float = 2e-4
    warned: str = ""
    layers: int = 2

    def change(self, tensors: Tensors) -> None:
        """Makes all changes to the tensors of a model."""
        for change in self.changes:
            change(tensors)


def _add(name: str, *shape: int, seed: int = 1) -> Change:
    """A tensor of random numbers between 0.5 and 1.5."""

    def change(tensors: Tensors) -> None:
        numbers = np.random.default_rng(seed).uniform(0.5, 1.5, shape)
        tensors[name] = numbers.astype(np.float32)

    return change


def _drop(*names: str) -> Change:
    def change(tensors: Tensors) -> None:
        for name in names:
            del tensors[name]

    return change


def _fuse_qkv(suffix: str = "weight") -> Change:
    def change(tensors: Tensors) -> None:
        for layer in range(2):
            parts = [tensors.pop(f"blk.{layer}.attn_{part}.{suffix}") for part in "qkv"]
            tensors[f"blk.{layer}.attn_qkv.{suffix}"] = np.concatenate(parts)

    return change


def _cast(dtype: type, *names: str) -> Change:
    def change(tensors: Tensors) -> None:
        for name in names:
            tensors[name] = tensors[name].astype(dtype)

    return change


def _rope() -> Iterator[Case]:
    linear = {"*.rope.scaling.type": "linear", "*.rope.scaling.factor": 4.0}
    yarn = {
        "*.rope.scaling.type": "yarn",
        "*.rope.scaling.factor": 4.0,
        "*.rope.scaling.original_context_length": 32,
    }
    for kind in ("llama", "qwen2", "gemma3"):
        tolerance = _GEMMA if kind == "gemma3" else 2e-4

        def case(name: str, metadata: Mapping[str, Any], kind=kind, tolerance=tolerance) -> Case:
            return Case(f"{kind} rope {name}", kind, metadata, tolerance=tolerance)

        yield case("linear", linear)
        yield case("the old key", {"*.rope.scale_linear": 4.0})
        yield case("both keys", {"*.rope.scale_linear": 2.0, "*.rope.scaling.factor": 4.0})
        yield case("factor without type", {"*.rope.scaling.factor": 4.0})
        yield case("factor 0", linear | {"*.rope.scaling.factor": 0.0})
        yield case("linear without factor", {"*.rope.scaling.type": "linear"})
        yield case("none with a factor", linear | {"*.rope.scaling.type": "none"})
        yield case("factor below 1", linear | {"*.rope.scaling.factor": 0.5})
        yield case("growth", {"*.rope.scaling.attn_factor": 0.5})
        yield case("yarn", yarn)
        yield case("yarn growth", yarn | {"*.rope.scaling.attn_factor": 0.5})
        yield case("yarn original", yarn | {"*.rope.scaling.original_context_length": 64})
        yield case("yarn without original", yarn | {"*.rope.scaling.original_context_length": None})
        yield case("yarn without factor", yarn | {"*.rope.scaling.factor": None})
        yield case("yarn factor below 1", yarn | {"*.rope.scaling.factor": 0.5})
        yield case("base", {"*.rope.freq_base": 500.0})
        yield case("without base", {"*.rope.freq_base": None})
        yield case("finetuned", yarn | {"*.rope.scaling.finetuned": False})
    yield Case("local base", "gemma3", {"*.rope.freq_base_swa": 500.0}, tolerance=_GEMMA)
    yield Case("factors", changes=(_add("rope_freqs.weight", SIZE // 2),))
    yield Case("factors and yarn", "llama", yarn, (_add("rope_freqs.weight", SIZE // 2),))
    long, short = (f"rope_factors_{kind}.weight" for kind in ("long", "short"))
    longrope = {"*.rope.scaling.type": "longrope", "*.rope.scaling.attn_factor": 1.2}
    both = (_add(long, SIZE // 2), _add(short, SIZE // 2, seed=2))
    for name, original in (("beyond", 64), ("within", 1024)):
        lengths = {"*.rope.scaling.original_context_length": original}
        # The divisors of the other length have no place in this network.
        yield Case(f"longrope {name} its context", "llama", longrope | lengths, both)
    yield Case(
        "factors of another network",
        "qwen2",
        changes=(_add("rope_freqs.weight", SIZE // 2),),
        refused="tensor rope_freqs.weight",
    )
    yield Case(
        "rope type", metadata={"*.rope.scaling.type": "su"}, refused="llama.rope.scaling.type"
    )
    for key in ("yarn_beta_fast", "yarn_beta_slow", "yarn_ext_factor", "yarn_attn_factor"):
        yield Case(
            f"yarn {key}",
            metadata=yarn | {f"*.rope.scaling.{key}": 3.0},
            refused=f"llama.rope.scaling.{key}",
        )
    yield Case(
        "yarn as usual",
        metadata=yarn
        | {"*.rope.scaling.yarn_beta_fast": 32.0, "*.rope.scaling.yarn_beta_slow": 1.0},
    )
    yield Case(
        "part of a head turns",
        "gemma3",
        {"*.rope.dimension_count": SIZE // 2},
        refused="gemma3.rope.dimension_count",
    )


# llama.cpp's GELU is a table in half precision.
_GEMMA = 2e-2


def _attention() -> Iterator[Case]:
    yield Case("sees later tokens", metadata={"*.attention.causal": False}, refused="causal")
    yield Case("sees no later tokens", metadata={"*.attention.causal": True})
    gemma = dict(kind="gemma3", tolerance=_GEMMA)
    for period in (0, 2, 3):
        key = {"*.attention.sliding_window_pattern": period}
        yield Case(f"window in {period} layers", metadata=key, **gemma)
    array = {"*.attention.sliding_window_pattern": [True, False] * 6}
    yield Case("window by layers", "gemma3", array, refused="sliding_window_pattern")
    for window in (None, 0, 3, 200):
        yield Case(f"window {window}", metadata={"*.attention.sliding_window": window}, **gemma)
    for cap in (0.0, 3.0):
        yield Case(f"soft cap {cap}", metadata={"*.final_logit_softcapping": cap}, **gemma)
    cap = {"*.final_logit_softcapping": 3.0}
    yield Case("soft cap, few layers", metadata=cap, layers=1, **gemma)
    yield Case(
        "size of heads in windows",
        "gemma3",
        {"*.attention.key_length_swa": 32},
        refused="gemma3.attention.key_length_swa",
    )
    yield Case(
        "same size of heads in windows", metadata={"*.attention.key_length_swa": SIZE}, **gemma
    )
    for key in ("key_length", "value_length", "head_count_kv"):
        if key != "head_count_kv":
            yield Case(f"without {key}", metadata={f"*.attention.{key}": None})
    yield Case(
        "hidden size not a multiple of heads",
        metadata={"*.embedding_length": HIDDEN - 2},
        changes=(_narrow(HIDDEN - 2),),
        refused="metadata of the llama network",
    )


def _narrow(hidden: int) -> Change:
    """Makes the hidden size `hidden`, with heads of the same size."""

    def change(tensors: Tensors) -> None:
        for name, value in tensors.items():
            axes = [slice(hidden) if size == HIDDEN else slice(None) for size in value.shape]
            if "attn_output" in name:
                axes[1] = slice(None)
            elif "attn_q" in name:
                axes[0] = slice(None)
            tensors[name] = np.ascontiguousarray(value[tuple(axes)])

    return change


def _layers() -> Iterator[Case]:
    for key, value in (
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("feed_forward_length", INNER),
    ):
        yield Case(f"{key} by layers", metadata={f"*.{key}": [value, value]})
        yield Case(
            f"{key} that differs",
            metadata={f"*.{key}": [value, value // 2]},
            refused=f"llama.{key}",
        )
        yield Case(
            f"{key} of too many layers", metadata={f"*.{key}": [value] * 3}, refused=f"llama.{key}"
        )
    used = {"*.expert_used_count": [2, 2]}
    yield Case("expert_used_count by layers", "mixtral", used)
    for kind in ("mixtral", "qwen3moe"):
        for used in (1, 3, 4):
            yield Case(f"{kind} {used} experts", kind, {"*.expert_used_count": used})
    yield Case("without feed_forward_length", "qwen3moe", {"*.feed_forward_length": None})
    yield Case(
        "experts by division",
        "qwen3moe",
        {"*.expert_feed_forward_length": None, "*.feed_forward_length": 64},
    )


def _tensors() -> Iterator[Case]:
    sizes = {"attn_q": HEADS * SIZE, "attn_k": KV_HEADS * SIZE, "attn_v": KV_HEADS * SIZE}
    rest = {"attn_output": HIDDEN, "ffn_gate": INNER, "ffn_up": INNER, "ffn_down": HIDDEN}
    for name, size in (sizes | rest).items():
        yield Case(f"bias of {name}", changes=(_add(f"blk.1.{name}.bias", size),))
        scale = _add(f"blk.1.{name}.scale", 1)
        yield Case(f"factor of {name}", changes=(scale,))
        yield Case(f"factor and bias of {name}", changes=(scale, _add(f"blk.1.{name}.bias", size)))
    for kind in ("qwen3", "qwen3moe", "mixtral"):
        biases = tuple(_add(f"blk.0.{name}.bias", size) for name, size in sizes.items())
        yield Case(f"{kind} biases", kind, changes=biases)
    for name in sizes:
        yield Case(
            f"qwen2 without the bias of {name}", "qwen2", changes=(_drop(f"blk.0.{name}.bias"),)
        )
    for kind in ("qwen2", "gemma3"):
        for name in ("attn_q", "attn_v", "attn_output"):
            yield Case(
                f"{kind} factor of {name}",
                kind,
                changes=(_add(f"blk.0.{name}.scale", 1),),
                tolerance=_GEMMA if kind == "gemma3" else 2e-4,
            )
        yield Case(
            f"{kind} factor of ffn_up",
            kind,
            changes=(_add("blk.0.ffn_up.scale", 1),),
            refused="tensor blk.0.ffn_up.scale",
        )
    for kind in ("mixtral", "qwen3moe"):
        for name in ("gate", "up", "down"):
            scale = _add(f"blk.1.ffn_{name}_exps.scale", 4)
            yield Case(f"{kind} factors of {name}", kind, changes=(scale,))
    everything = (
        *(_add(f"blk.{layer}.{name}.scale", 1) for layer in (0, 1) for name in sizes | rest),
        *(_add(f"blk.1.{name}.bias", size) for name, size in rest.items()),
    )
    everything = (_fuse_qkv(), *everything, _add("blk.0.attn_qkv.bias", _QKV_ROWS))
    everything += (_drop(*(f"blk.{layer}.{name}.scale" for layer in (0, 1) for name in sizes)),)
    yield Case("llama with everything", changes=everything)
    yield Case("size of inputs", changes=(_add("blk.0.attn_q.input_scale", 1),))
    yield Case(
        "size of inputs of nothing",
        changes=(_add("blk.9.attn_q.input_scale", 1),),
        refused="tensor blk.9.attn_q.input_scale",
    )
    for kind in KINDS:
        tolerance = _GEMMA if kind == "gemma3" else 2e-4
        fused = (_fuse_qkv(),)
        if kind == "qwen2":
            fused = (_fuse_qkv(), _fuse_qkv("bias"))
        if kind == "gemma3":
            continue
        yield Case(f"{kind} fused qkv", kind, changes=fused, tolerance=tolerance)
        bias = _add("blk.0.attn_qkv.bias", _QKV_ROWS)
        if kind != "qwen2":
            yield Case(f"{kind} fused qkv with a bias", kind, changes=(*fused, bias))
        scale = _add("blk.0.attn_qkv.scale", 1)
        yield Case(f"{kind} fused qkv with a factor", kind, changes=(*fused, scale))
    yield Case(
        "fused and apart",
        changes=(_add("blk.0.attn_qkv.weight", _QKV_ROWS, HIDDEN),),
        refused="tensor blk.0.attn_qkv.weight",
    )
    yield Case("a head of its own", changes=(_add("output.weight", 320, HIDDEN),))
    yield Case("bias of the head", "qwen2", changes=(_add("output.bias", 320),))
    yield Case(
        "another network's tensor",
        changes=(_add("blk.0.foo.weight", 4),),
        refused="tensor blk.0.foo.weight",
    )
    yield Case(
        "a matrix of doubles",
        changes=(_cast(np.float64, "blk.0.ffn_up.weight"),),
        refused="blk.0.ffn_up.weight (F64)",
    )
    yield Case("a norm as a matrix", changes=(_reshape("output_norm.weight", 1, HIDDEN),))


def _reshape(name: str, *shape: int) -> Change:
    def change(tensors: Tensors) -> None:
        tensors[name] = tensors[name].reshape(shape)

    return change


def _keys() -> Iterator[Case]:
    """Keys that nobody reads: those without effect pass, the others do not."""
    passing = {
        "vocab_size": 7,
        "tensor_data_layout": "Meta AI original pth",
        "rope.scaling.finetuned": True,
        "classifier.output_labels": ["no", "yes"],
        "attention.layer_norm_epsilon": 0.5,
        "attention.group_norm_epsilon": 0.5,
        "attention.group_norm_groups": 3,
        "logit_scale": 1.0,
        "residual_scale": 1.0,
        "embedding_scale": 1.0,
        "attn_logit_softcapping": 0.0,
        "attention.sliding_window": 0,
        "expert_gating_func": 1,
        "expert_weights_norm": True,
        "expert_group_count": 0,
        "leading_dense_block_count": 0,
        "nextn_predict_layers": 0,
        "use_parallel_residual": False,
    }
    for key, value in passing.items():
        yield Case(f"{key} without effect", metadata={f"*.{key}": value})
    refused = {
        "logit_scale": 2.0,
        "residual_scale": 0.5,
        "embedding_scale": 12.0,
        "attention.scale": 0.5,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "attention.sliding_window": 64,
        "attention.clamp_kqv": 8.0,
        "expert_gating_func": 2,
        "use_parallel_residual": True,
        "ssm.conv_kernel": 4,
        "attention.key_length_mla": 8,
        "new_key_of_next_year": 1,
    }
    for key, value in refused.items():
        yield Case(f"{key} refused", metadata={f"*.{key}": value}, refused=f"llama.{key}")
    yield Case("a key of the tokenizer", metadata={"tokenizer.new": 1}, refused="tokenizer.new")
    yield Case("a key of somebody else", metadata={"mradermacher.note": "x"})
    yield Case("pooling", metadata={"*.pooling_type": 1}, warned="llama.pooling_type")
    for kind in ("adapter", "mmproj", "imatrix", "vocab"):
        yield Case(f"a file of {kind}", metadata={"general.type": kind}, refused="general.type")
    yield Case("a file of a model", metadata={"general.type": "model"})
    yield Case("merged parts", metadata={"split.count": (0, GGUFValueType.UINT16)})


CASES: Mapping[str, Case] = {
    case.name: case for group in (_rope, _attention, _layers, _tensors, _keys) for case in group()
}
