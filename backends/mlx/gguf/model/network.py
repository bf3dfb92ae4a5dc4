"""A file's network: the `transformers` module of its architecture, on the file's own bytes.

The module is made without memory, on the meta device; each weight is then set from the mapped
file. Quantized matrices become `GGUFTensor`s whose blocks are views of the map, so that building
a network copies little: norms, and q and k where their rows must move.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

import gguf
from backends.mlx.gguf.checkpoint.file import DENSE_TYPES, GGUFError, GGUFFile, GGUFTensorInfo
from backends.mlx.gguf.formats import FORMATS
from backends.mlx.gguf.lowering import GGUFTensor
from backends.mlx.gguf.model import architecture as architectures
from backends.mlx.gguf.model.experts import Router, replace_experts
from backends.mlx.gguf.model.rms_norm import RMSNorm, keep_exact, replace_norms

_FACTORS = "rope_freqs.weight"


def build(
    file: GGUFFile,
    dtype: torch.dtype,
    *,
    attention: str = "sdpa",
    allow_dense: bool = False,
) -> PreTrainedModel:
    """The network of `file` in evaluation mode, computing in `dtype`.

    Args:
        dtype: of the activations, and of the tensors that are not quantized.
        attention: the name of an attention function that `transformers` knows.
        allow_dense: decode quantized tensors of types without a kernel into matrices of
            `dtype`, instead of refusing them.

    Raises:
        GGUFError: an architecture that is not supported; metadata or a tensor that is missing,
            has another shape than the metadata says, is of a type without a kernel, or has no
            place in the network.
    """
    architecture = architectures.of_file(file)
    config = architectures.config_of(file)
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention, dtype=dtype
        )
    replace_norms(network)
    replace_experts(network)
    network.eval().requires_grad_(False)
    names = _tensor_names(file, network)
    _check_all_used(file, names)
    if not allow_dense:
        _check_types(file)
    for parameter, name in names.items():
        module_name, _, attribute = parameter.rpartition(".")
        module = network.get_submodule(module_name)
        info, shape = file.tensors[name], tuple(getattr(module, attribute).shape)
        if isinstance(module, RMSNorm):
            tensor = keep_exact(_load(file, info, shape, torch.float32), dtype)
        else:
            exact = isinstance(module, Router)
            tensor = _load(file, info, shape, torch.float32 if exact else dtype)
        if architecture.interleaved_rope:
            tensor = _deinterleave(tensor, name, config)
        setattr(module, attribute, nn.Parameter(tensor, requires_grad=False))
    if config.tie_word_embeddings:
        network.lm_head.weight = network.model.embed_tokens.weight
    _rebuild_buffers(file, network)
    return network


def _tensor_names(file: GGUFFile, network: PreTrainedModel) -> dict[str, str]:
    """The file's name of each parameter of the network, all of them present in the file."""
    ids = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(
        ids[architectures.architecture_name(file)], network.config.num_hidden_layers
    )
    names = {}
    for parameter in dict(network.named_parameters()):
        stem, _, suffix = parameter.rpartition(".")
        name = f"{table.get_name(stem)}.{suffix}"
        if name not in file.tensors:
            raise GGUFError(
                file.path, f"tensor {name}", f"a tensor for {parameter}", "no such tensor"
            )
        names[parameter] = name
    return names


def _check_all_used(file: GGUFFile, names: dict[str, str]) -> None:
    unused = sorted(file.tensors.keys() - set(names.values()) - {_FACTORS})
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


def _load(
    file: GGUFFile, info: GGUFTensorInfo, shape: tuple[int, ...], dtype: torch.dtype
) -> torch.Tensor:
    if info.shape != shape:
        raise GGUFError(
            file.path, f"tensor {info.name}", f"shape {list(shape)}", f"{list(info.shape)}"
        )
    if info.is_dense:
        return info.to_torch().to(dtype)
    if len(shape) < 2:
        raise GGUFError(
            file.path, f"tensor {info.name}", f"type {', '.join(DENSE_TYPES)}", info.ggml_type
        )
    if info.ggml_type in FORMATS:
        return GGUFTensor.from_blocks(info.to_torch(), info.ggml_type, dtype)
    ggml_type = gguf.GGMLQuantizationType[info.ggml_type]
    return torch.from_numpy(gguf.dequantize(info.blocks(), ggml_type)).reshape(shape).to(dtype)


def _deinterleave(tensor: torch.Tensor, name: str, config) -> torch.Tensor:
    """q's and k's rows from the order of ggml's rotation into that of `transformers`.

    Within each head, row 2i goes to i and row 2i + 1 to n/2 + i. Whole rows move, so that
    blocks do as well as numbers.
    """
    kind = name.split(".")[-2]
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


def _rebuild_buffers(file: GGUFFile, network: PreTrainedModel) -> None:
    """Sets what `transformers` computes while it makes a module, which the meta device skipped."""
    rotary = type(network.model.rotary_emb)(network.config)
    if _FACTORS in file.tensors:
        _divide_frequencies(file, rotary)
    network.model.rotary_emb = rotary
    embedding = network.model.embed_tokens
    if hasattr(embedding, "embed_scale"):
        embedding.embed_scale = torch.tensor(embedding.scalar_embed_scale)
    left = [name for name, buffer in network.named_buffers() if buffer.device.type == "meta"]
    assert not left, f"{type(network).__name__}: buffers without a value: {left}"


def _divide_frequencies(file: GGUFFile, rotary: nn.Module) -> None:
    """Llama 3's long contexts: each frequency is divided by the factor that the file holds."""
    factors = _load(file, file.tensors[_FACTORS], tuple(rotary.inv_freq.shape), torch.float32)
    rotary.inv_freq /= factors
    rotary.original_inv_freq /= factors
