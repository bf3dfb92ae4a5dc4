"""A file's network: the `transformers` module of its architecture, on the file's own bytes.

The module is made without memory, on the meta device; each weight is then set from the mapped
file. Quantized matrices become `GGUFTensor`s whose blocks are views of the map, so that building
a network copies little: norms, and q and k where their rows must move.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

import gguf
from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.formats import FORMATS
from backends.mlx.gguf.lowering import GGUFTensor
from backends.mlx.gguf.model import architecture as architectures
from backends.mlx.gguf.model.architecture import Architecture
from backends.mlx.gguf.model.experts import ExpertLinear, Router, replace_experts
from backends.mlx.gguf.model.head import Head
from backends.mlx.gguf.model.rms_norm import RMSNorm, keep_exact, replace_norms
from backends.mlx.gguf.model.rope import Rope
from backends.mlx.gguf.model.weights import Part, ScaledLinear, Weights, load

_HEAD = "lm_head."


def build(
    file: GGUFFile,
    dtype: torch.dtype,
    *,
    attention: str = "sdpa",
    allow_dense: bool = False,
    cache_length: int | None = None,
) -> PreTrainedModel:
    """The network of `file` in evaluation mode, computing in `dtype`.

    Args:
        dtype: of the activations, and of the tensors that are not quantized.
        attention: the name of an attention function that `transformers` knows.
        allow_dense: decode quantized tensors of types without a kernel into matrices of
            `dtype`, instead of refusing them.
        cache_length: how many positions there will be; None: the model's context.

    Raises:
        GGUFError: an architecture that is not supported; metadata or a tensor that is missing,
            has another shape than the metadata says, is of a type without a kernel, or has no
            place in the network.
    """
    row = architectures.of_file(file)
    config = architectures.config_of(file)
    ropes = row.ropes(file, cache_length or config.max_position_embeddings)
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention, dtype=dtype
        )
    replace_norms(network)
    replace_experts(network)
    network.eval().requires_grad_(False)
    weights = Weights(file, config)
    name_of = _names(file, network)
    _fit_biases(network, weights, name_of)
    parameters = _parameters(network, weights, name_of)
    factors = _factors(network, weights, name_of, row)
    weights.used.update(*(rope.tensors for rope in ropes.values()))
    _check_all_used(file, weights)
    if not allow_dense:
        _check_types(file)
    for name, part in parameters.items():
        if name.startswith(_HEAD):
            continue
        module_name, _, attribute = name.rpartition(".")
        module = network.get_submodule(module_name)
        wide = module_name in factors and dtype == torch.float16
        tensor = _loaded(module, attribute, part, torch.float32 if wide else dtype)
        if row.interleaved_rope:
            tensor = _deinterleave(tensor, name_of(module_name), config)
        setattr(module, attribute, nn.Parameter(tensor, requires_grad=False))
    _set_head(network, parameters)
    for name, part in factors.items():
        _scale(network, name, part)
    _rebuild_buffers(file, network, ropes)
    return network


def _names(file: GGUFFile, network: PreTrainedModel) -> Callable[[str], str | None]:
    """From the names of the network's modules to those of the file's tensors, without suffixes."""
    ids = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(
        ids[architectures.architecture_name(file)], network.config.num_hidden_layers
    )
    return table.get_name


def _fit_biases(
    network: PreTrainedModel, weights: Weights, name_of: Callable[[str], str | None]
) -> None:
    """Gives each linear the bias that the file has for it, or none: each is optional."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            found = weights.find(f"{name_of(name)}.bias")
            module.bias = None
            if found is not None:
                empty = torch.empty(module.out_features, device="meta")
                module.bias = nn.Parameter(empty, requires_grad=False)


def _parameters(
    network: PreTrainedModel, weights: Weights, name_of: Callable[[str], str | None]
) -> dict[str, Part]:
    """What the file has for each parameter of the network: all of them are there."""
    parts = {}
    for parameter in dict(network.named_parameters()):
        stem, _, suffix = parameter.rpartition(".")
        name = f"{name_of(stem)}.{suffix}"
        part = weights.find(name)
        if part is None:
            raise GGUFError(
                weights.file.path, f"tensor {name}", f"a tensor for {parameter}", "no such tensor"
            )
        parts[parameter] = part
    return parts


def _factors(
    network: PreTrainedModel,
    weights: Weights,
    name_of: Callable[[str], str | None],
    row: Architecture,
) -> dict[str, Part]:
    """The factors of matrices, by the names of the modules that have them."""
    parts = {}
    for name, module in network.model.named_modules(prefix="model"):
        if isinstance(module, (nn.Linear, ExpertLinear)):
            stem = name_of(name)
            part = weights.find(f"{stem}.scale")
            if part is None:
                continue
            if stem.rpartition(".")[2] in row.unscaled:
                raise GGUFError(
                    weights.file.path,
                    f"tensor {part.info.name}",
                    f"no factor: in a {row.name} network llama.cpp does not apply it",
                    "one",
                )
            parts[name] = part
    return parts


def _check_all_used(file: GGUFFile, weights: Weights) -> None:
    unused = weights.unused()
    if unused:
        raise GGUFError(
            file.path,
            f"tensor {unused[0]}",
            f"only tensors of the {architectures.architecture_name(file)} network",
            f"{len(unused)} that have no place in it",
        )


def _check_types(file: GGUFFile) -> None:
    """Raises GGUFError for quantized tensors of types without a kernel."""
    dense = [
        f"{info.name} ({info.ggml_type})"
        for info in file.tensors.values()
        if info.ggml_type not in FORMATS and not info.is_dense
    ]
    if dense:
        raise GGUFError(
            file.path,
            f"{len(dense)} tensors",
            f"types of {', '.join(FORMATS)}",
            f"types without a kernel, which would become dense: {', '.join(dense)}",
        )


def _loaded(module: nn.Module, attribute: str, part: Part, dtype: torch.dtype) -> torch.Tensor:
    """The tensor for a module's parameter, in the dtype that the module wants."""
    shape = tuple(getattr(module, attribute).shape)
    if isinstance(module, RMSNorm):
        return keep_exact(load(part, shape, torch.float32), dtype)
    return load(part, shape, torch.float32 if isinstance(module, Router) else dtype)


def _deinterleave(tensor: torch.Tensor, name: str | None, config) -> torch.Tensor:
    """q's and k's rows from the order of ggml's rotation into that of `transformers`.

    Within each head, row 2i goes to i and row 2i + 1 to n/2 + i. Whole rows move, so that
    blocks do as well as numbers.
    """
    kind = (name or "").rpartition(".")[2]
    heads = {
        "attn_q": config.num_attention_heads,
        "attn_k": config.num_key_value_heads,
    }.get(kind)
    if heads is None:
        return tensor
    quantized = isinstance(tensor, GGUFTensor)
    rows = tensor.blocks if quantized else tensor
    moved = rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(rows.shape)
    if quantized:
        return GGUFTensor.from_blocks(moved, tensor.ggml_type, tensor.dtype)
    return moved


def _set_head(network: PreTrainedModel, parameters: dict[str, Part]) -> None:
    """Sets the head from its own tensors, or the embedding's; shared if that is the same tensor."""
    embedding = network.model.embed_tokens.weight
    tied = parameters["model.embed_tokens.weight"]
    part = parameters.get(f"{_HEAD}weight", tied)
    weight = load(part, tuple(network.lm_head.weight.shape), torch.float32)
    if part is tied and embedding.dtype == torch.float32:
        weight = embedding
    bias = parameters.get(f"{_HEAD}bias")
    if bias is not None:
        bias = load(bias, tuple(network.lm_head.bias.shape), torch.float32)
    network.lm_head = Head(weight, bias)


def _scale(network: PreTrainedModel, name: str, part: Part) -> None:
    """Makes the module `name` multiply its product by the factor that `part` holds."""
    module = network.get_submodule(name)
    if isinstance(module, ExpertLinear):
        experts = module.weight.shape[0]
        factor = load(part, (experts,), torch.float32)
        module.factor = nn.Parameter(factor, requires_grad=False)
    else:
        factor = load(part, (1,), torch.float32).item()
        if ".mlp." in name and module.bias is not None:
            # In a feed-forward network llama.cpp adds the bias before.
            module.bias = nn.Parameter(module.bias * factor, requires_grad=False)
        network.set_submodule(name, ScaledLinear(module, factor))


def _rebuild_buffers(file: GGUFFile, network: PreTrainedModel, ropes: dict[str, Rope]) -> None:
    """Sets what `transformers` computes while it makes a module, which the meta device skipped."""
    rotary = type(network.model.rotary_emb)(network.config)
    for kind, rope in ropes.items():
        prefix = f"{kind}_" if kind else ""
        if hasattr(rotary, f"{prefix}inv_freq"):
            frequencies = rope.frequencies(network.config.head_dim)
            if rope.factors is not None:
                part = Part(file.tensors[rope.factors])
                frequencies /= load(part, tuple(frequencies.shape), torch.float32)
            setattr(rotary, f"{prefix}inv_freq", frequencies.float())
            setattr(rotary, f"{prefix}original_inv_freq", frequencies.float())
            setattr(rotary, f"{prefix}attention_scaling", rope.growth)
    network.model.rotary_emb = rotary
    embedding = network.model.embed_tokens
    if hasattr(embedding, "embed_scale"):
        embedding.embed_scale = torch.tensor(embedding.scalar_embed_scale)
    left = [name for name, buffer in network.named_buffers() if buffer.device.type == "meta"]
    assert not left, f"{type(network).__name__}: buffers without a value: {left}"
