"""Linears of GGUF weights, repacked for MLX's quantized matmul, run and compared."""

import logging

import mlx.core as mx
import numpy as np
import pytest
import torch
from torch.export import Dim

from backends.mlx.gguf import formats
from backends.mlx.gguf.lowering import export_module
from backends.mlx.gguf.lowering.emit import quantized
from backends.mlx.gguf.lowering.testing import (
    DTYPES,
    Exported,
    assert_product,
    linear,
    mergeable_q6_k,
    quantize,
    random,
)


def export(module, *inputs, **kwargs):
    return Exported(export_module(module, inputs, mode="repack", **kwargs))


def affine_weights(ggml_type, blocks, dtype):
    """The weights that a program with factors of `dtype` holds, float64."""
    view = formats.affine_view(formats.get(ggml_type), blocks.numpy())
    scales, biases = (
        torch.from_numpy(factor).to(dtype).double().numpy() for factor in (view.scales, view.biases)
    )
    return view._replace(scales=scales, biases=biases).weights()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_pack_is_mlx_layout(bits):
    quants = np.random.default_rng(0).integers(0, 2**bits, (3, 96), dtype=np.uint8)
    unpacked = mx.dequantize(
        mx.array(quantized.pack(quants, bits)), mx.ones((3, 3)), mx.zeros((3, 3)), 32, bits
    )
    np.testing.assert_array_equal(np.array(unpacked), quants)


def test_pack_refuses_partial_words():
    with pytest.raises(ValueError, match="columns % 32 == 0, found 40"):
        quantized.pack(np.zeros((1, 40), np.uint8), 4)


def test_chunks_with_different_groups_join(monkeypatch):
    """Equal scales in the first rows merge to wider groups than the others can."""
    fmt = formats.get("Q4_K")
    blocks = quantize("Q4_K", 3, 256).numpy()
    blocks[0, 4:16] = 0
    monkeypatch.setattr(quantized, "_CHUNK_WEIGHTS", 256)
    found = quantized.repack(fmt, blocks)
    weights = mx.dequantize(
        mx.array(found.packed.numpy()),
        mx.array(found.scales.numpy()),
        mx.array(found.biases.numpy()),
        found.group,
        found.bits,
    )
    assert found.group == 32
    np.testing.assert_allclose(np.array(weights), formats.dequantize(fmt, blocks), rtol=1e-6)


@pytest.mark.parametrize("leading", [(1,), (2, 3), (33,), ()])
def test_float32(leading):
    blocks = quantize("Q4_K", 67, 768)
    x = random((*leading, 768), torch.float32)
    exported = export(linear(blocks, "Q4_K", torch.float32), x)
    assert exported.nodes() == {"QuantizedMatmulNode": 1}
    assert_product(exported(x), "Q4_K", blocks, x, torch.float32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_factors_are_rounded_once_to_the_type_of_the_activations(dtype):
    dtype = DTYPES[dtype]
    blocks = quantize("Q4_K", 5, 256)
    x = random((3, 256), dtype)
    exported = export(linear(blocks, "Q4_K", dtype), x)
    assert exported.nodes() == {"QuantizedMatmulNode": 1}
    weights = affine_weights("Q4_K", blocks, dtype)
    assert_product(exported(x), "Q4_K", blocks, x, dtype, weights=weights)


def test_float32_factors_keep_the_type_of_the_node():
    blocks = quantize("Q4_K", 5, 256)
    x = random((3, 256), torch.bfloat16)
    module = linear(blocks, "Q4_K", torch.bfloat16)
    exported = export(module, x, affine_dtype="float32")
    assert exported.nodes() == {"QuantizedMatmulNode": 1, "AsTypeNode": 1}
    assert_product(exported(x), "Q4_K", blocks, x, torch.bfloat16)


def test_bias_and_dynamic_rows():
    blocks, bias = quantize("Q4_K", 5, 256), random((5,), torch.float32, seed=2)
    exported = export(
        linear(blocks, "Q4_K", torch.float32, bias),
        random((3, 256), torch.float32),
        dynamic_shapes=({0: Dim("rows", max=32)},),
    )
    assert exported.nodes()["AddNode"] == 1
    for count in (1, 20):
        x = random((count, 256), torch.float32)
        assert_product(exported(x), "Q4_K", blocks, x, torch.float32, bias)


def test_q6_k_is_repacked_where_its_groups_merge(caplog):
    blocks = mergeable_q6_k(5, 256)
    x = random((3, 256), torch.float32)
    exported = export(linear(blocks, "Q6_K", torch.float32), x)
    assert exported.nodes() == {"QuantizedMatmulNode": 1}
    assert not [r for r in caplog.records if r.name == "mlx_gguf.lowering"]
    assert_product(exported(x), "Q6_K", blocks, x, torch.float32)


def test_q6_k_is_fused_and_logged_where_they_do_not(caplog):
    blocks = quantize("Q6_K", 5, 256)
    x = random((3, 256), torch.float32)
    with caplog.at_level(logging.WARNING, "mlx_gguf.lowering"):
        exported = export(torch.nn.Sequential(linear(blocks, "Q6_K", torch.float32)), x)
    assert exported.kernels() == ["gguf_q6_k_qmv_batch"]
    (record,) = [r for r in caplog.records if r.name == "mlx_gguf.lowering"]
    assert record.getMessage().startswith("0.weight: Q6_K stays fused")
    assert_product(exported(x), "Q6_K", blocks, x, torch.float32)


def test_factors_too_large_for_the_activations_are_refused():
    blocks = quantize("Q4_K", 5, 256)
    blocks[0, :2] = torch.tensor([0xFF, 0x7B], dtype=torch.uint8)  # d = 65504
    x = random((1, 256), torch.float16)
    with pytest.raises(ValueError, match="weight.*expected scales within 65504"):
        export(linear(blocks, "Q4_K", torch.float16), x)
