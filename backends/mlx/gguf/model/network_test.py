"""Files that do not hold the network they claim, and weights that no kernel reads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.checkpoint.testing import write
from backends.mlx.gguf.lowering import GGUFTensor
from backends.mlx.gguf.model import network, weights
from backends.mlx.gguf.model.testing import MODELS


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    MODELS["llama"]().write(path)
    return path


def test_blocks_stay_in_the_file(path):
    file = GGUFFile(path)
    built = network.build(file, torch.bfloat16)
    weight = built.model.layers[0].mlp.up_proj.weight
    assert isinstance(weight, GGUFTensor)
    in_file = file.tensors["blk.0.ffn_up.weight"].blocks()
    assert weight.blocks.data_ptr() == in_file.ctypes.data
    head, embedding = built.lm_head.weight, built.model.embed_tokens.weight
    assert head.dtype == torch.float32
    assert head.blocks.data_ptr() == embedding.blocks.data_ptr()


def test_experts_stay_in_the_file(tmp_path):
    path = tmp_path / "tiny.gguf"
    MODELS["qwen3moe"]().write(path)
    file = GGUFFile(path)
    mixture = network.build(file, torch.bfloat16).model.layers[1].mlp
    for name, module in (
        ("gate", mixture.experts.gate_proj),
        ("up", mixture.experts.up_proj),
        ("down", mixture.experts.down_proj),
    ):
        info = file.tensors[f"blk.1.ffn_{name}_exps.weight"]
        assert module.weight.shape == info.shape and module.weight.ggml_type == info.ggml_type
        assert module.weight.blocks.data_ptr() == info.blocks().ctypes.data
    router = file.tensors["blk.1.ffn_gate_inp.weight"]
    assert mixture.gate.weight.dtype == torch.float32
    assert mixture.gate.weight.data_ptr() == router.values().ctypes.data


def test_norms_that_bfloat16_cannot_hold_stay_float32(tmp_path):
    MODELS["llama"]().write(tmp_path / "tiny.gguf")
    data = bytearray((tmp_path / "tiny.gguf").read_bytes())
    info = GGUFFile(tmp_path / "tiny.gguf").tensors["output_norm.weight"]
    data[info.offset : info.offset + 4] = np.float32(1.001).tobytes()
    (tmp_path / "other.gguf").write_bytes(data)
    built = network.build(GGUFFile(tmp_path / "other.gguf"), torch.bfloat16)
    assert built.model.norm.weight.dtype == torch.float32
    assert built.model.norm.weight[0] == np.float32(1.001)
    assert built.model.layers[0].input_layernorm.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "model, changes, message",
    [
        (
            "llama",
            {"leave_out": "blk.1.ffn_up.weight"},
            "tensor blk.1.ffn_up.weight: expected a tensor for model.layers.1.mlp.up_proj.weight, "
            "found no such tensor",
        ),
        (
            "llama",
            {"metadata": {"feed_forward_length": 768}},
            "tensor blk.0.ffn_gate.weight: expected shape [768, 256], found [512, 256]",
        ),
        (
            "llama",
            {"metadata": {"block_count": 1}},
            "tensor blk.1.attn_k.weight: expected only tensors of the llama network, found 9 that "
            "have no place in it",
        ),
        (
            "llama",
            {"metadata": {"rope.scaling.type": "dynamic"}},
            "llama.rope.scaling.type: expected none, linear, yarn, longrope, found 'dynamic' "
            "(--ignore-key llama.rope.scaling.type passes it by)",
        ),
        (
            "llama",
            {"metadata": {"attention.value_length": 32}},
            "llama.attention.value_length: expected the size of a head, 64, found 32 "
            "(--ignore-key llama.attention.value_length passes it by)",
        ),
        (
            "qwen3moe",
            {"leave_out": "blk.1.ffn_up_exps.weight"},
            "tensor blk.1.ffn_up_exps.weight: expected a tensor for "
            "model.layers.1.mlp.experts.up_proj.weight, found no such tensor",
        ),
        (
            "qwen3moe",
            {"leave_out": "blk.0.ffn_gate_inp.weight"},
            "tensor blk.0.ffn_gate_inp.weight: expected a tensor for "
            "model.layers.0.mlp.gate.weight, found no such tensor",
        ),
        (
            "qwen3moe",
            {"metadata": {"expert_count": 4}},
            "tensor blk.0.ffn_gate_exps.weight: expected shape [4, 256, 256], found [8, 256, 256]",
        ),
        (
            "qwen3moe",
            {"metadata": {"expert_count": None}},
            "metadata 'qwen3moe.expert_count': expected an integer, found no such key",
        ),
        (
            "qwen3moe",
            {"metadata": {"expert_used_count": 9}},
            "qwen3moe.expert_used_count: expected at most the number of experts, 8, found 9 "
            "(--ignore-key qwen3moe.expert_used_count passes it by)",
        ),
        (
            "qwen3moe",
            {"metadata": {"expert_feed_forward_length": 512}},
            "tensor blk.0.ffn_gate_exps.weight: expected shape [8, 512, 256], found [8, 256, 256]",
        ),
        (
            "mixtral",
            {"metadata": {"expert_count": None}},
            "tensor blk.0.ffn_gate.weight: expected a tensor for "
            "model.layers.0.mlp.gate_proj.weight, found no such tensor",
        ),
    ],
)
def test_another_network(model, changes, message, tmp_path):
    path = tmp_path / "tiny.gguf"
    tiny = MODELS[model]()
    tiny.metadata.update(changes.get("metadata", {}))
    tiny.write(path, leave_out=changes.get("leave_out", ""))
    with pytest.raises(GGUFError) as caught:
        network.build(GGUFFile(path), torch.float32)
    assert str(caught.value) == f"{path}: {message}"


def test_another_architecture(tmp_path):
    path = write(tmp_path / "other.gguf", {"general.architecture": "mamba"})
    with pytest.raises(GGUFError, match="expected one of llama, qwen2, .*gemma3, found mamba"):
        network.build(GGUFFile(path), torch.float32)


def test_quantized_norm(path):
    file = GGUFFile(path)
    norm = dataclasses.replace(file.tensors["output_norm.weight"], ggml_type="Q8_0")
    file.tensors = {**file.tensors, norm.name: norm}
    with pytest.raises(
        GGUFError, match="output_norm.weight: expected type F32, F16, BF16, found Q8_0"
    ):
        network.build(file, torch.float32)


def test_no_metadata(tmp_path):
    tensors = {"token_embd.weight": np.zeros((4, 32), np.float32)}
    path = write(tmp_path / "other.gguf", {"general.architecture": "llama"}, tensors)
    with pytest.raises(GGUFError, match="llama.embedding_length.*no such key"):
        network.build(GGUFFile(path), torch.float32)


def test_types_without_a_kernel(path, monkeypatch):
    """A quantized weight becomes dense only where that is allowed, and then holds its numbers."""
    truth = network.build(GGUFFile(path), torch.float32)
    expected = truth.model.layers[0].mlp.up_proj.weight
    without = {name: row for name, row in network.FORMATS.items() if name != expected.ggml_type}
    monkeypatch.setattr(network, "FORMATS", without)
    monkeypatch.setattr(weights, "FORMATS", without)
    with pytest.raises(
        GGUFError,
        match=rf"become dense: .*blk.0.ffn_up.weight "
        rf"\({expected.ggml_type}\)",
    ):
        network.build(GGUFFile(path), torch.float32)
    dense = network.build(GGUFFile(path), torch.float32, allow_dense=True)
    found = dense.model.layers[0].mlp.up_proj.weight
    assert not isinstance(found.data, GGUFTensor)
    assert torch.equal(found, expected.dequantize())
