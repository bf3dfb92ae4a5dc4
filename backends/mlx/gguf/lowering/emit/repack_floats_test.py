"""Weights repacked for MLX's quantizations with 4-bit floats, which hold them exactly."""

import logging

import mlx.core as mx
import numpy as np
import pytest
import torch
from torch import nn

from backends.mlx.gguf import formats
from backends.mlx.gguf.lowering import GGUFTensor, export_module
from backends.mlx.gguf.lowering.emit import quantized
from backends.mlx.gguf.lowering.testing import (
    DTYPES,
    Exported,
    assert_dtype,
    assert_expert_product,
    assert_product,
    embedding,
    exact_weights,
    linear,
    quantize,
    random,
    to_numpy,
)

MODES = {fmt.name: fmt.mlx_mode for fmt in formats.FORMATS.values() if fmt.mlx_mode}
TYPES = pytest.mark.parametrize("ggml_type", MODES)
ANY_DTYPE = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)


class Experts(nn.Module):
    """Rows times the matrices that the indices name."""

    def __init__(self, blocks, ggml_type, dtype):
        super().__init__()
        weight = GGUFTensor.from_blocks(blocks, ggml_type, dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x, indices):
        return torch.ops.mlx.gather_mm(x, self.weight.transpose(-1, -2), rhs_indices=indices)


def export(module, *inputs, **kwargs):
    return Exported(export_module(module, inputs, mode="repack", **kwargs))


def weight_node(exported):
    """The node that reads the quantized weight; checks that it has the form of a float mode."""
    (node,) = (
        node
        for method in exported.program.methods.values()
        for graph in method.graphs
        for chain in graph.chains
        for node in chain
        if hasattr(node, "group_size")
    )
    assert node.biases is None and node.bits == 4
    return node


@pytest.mark.parametrize("mode", formats.FLOAT_MODES)
def test_numbers_are_those_of_mlx(mode):
    """Every scale of the mode times every float."""
    numbers = formats.FLOAT_MODES[mode]
    scales = np.arange(len(numbers.scales), dtype=np.uint8)[:, None]
    quants = np.resize(np.arange(16, dtype=np.uint8), (len(scales), 32))
    view = formats.MLXView(quants, np.repeat(scales, 2, 1), None, 16, 4, mode)
    weights = mx.dequantize(
        mx.array(quantized.pack(quants, 4)),
        mx.array(np.repeat(scales, 32 // numbers.group, axis=1)),
        group_size=numbers.group,
        bits=4,
        mode=mode,
        dtype=mx.float32,
    )
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(np.array(weights), view.weights().astype(np.float32))
    after = mx.dequantize(
        mx.full((1, 4), 0x22222222, mx.uint32),
        mx.full((1, 32 // numbers.group), len(scales), mx.uint8),
        group_size=numbers.group,
        bits=4,
        mode=mode,
        dtype=mx.float32,
    )
    assert not np.isfinite(np.array(after)).any()


@TYPES
@ANY_DTYPE
def test_linear_multiplies_the_exact_weights(ggml_type, dtype):
    blocks, bias = quantize(ggml_type, 67, 768), random((67,), dtype, seed=2)
    x = random((2, 17, 768), dtype)
    exported = export(linear(blocks, ggml_type, dtype), x)
    assert exported.nodes() == {"QuantizedMatmulNode": 1}
    assert weight_node(exported).mode == MODES[ggml_type]
    assert_product(exported(x), ggml_type, blocks, x, dtype)
    if dtype == torch.float32:
        exported = export(linear(blocks, ggml_type, dtype, bias), x)
        assert_product(exported(x), ggml_type, blocks, x, dtype, bias)


@TYPES
def test_float32_is_what_mlx_then_computes_in(ggml_type):
    blocks, x = quantize(ggml_type, 5, 256), random((3, 256), torch.bfloat16)
    module = linear(blocks, ggml_type, torch.bfloat16)
    exported = export(module, x, affine_dtype="float32")
    assert exported.nodes() == {"AsTypeNode": 2, "QuantizedMatmulNode": 1}
    assert_product(exported(x), ggml_type, blocks, x, torch.bfloat16)


@TYPES
@ANY_DTYPE
@pytest.mark.parametrize("indices", [3, [[5, 66, 0]]])
def test_embedding_holds_the_exact_weights(ggml_type, dtype, indices):
    blocks, indices = quantize(ggml_type, 67, 256), torch.tensor(indices)
    module = embedding(blocks, ggml_type, dtype)
    exported = export(module, indices)
    assert exported.nodes()["TakeNode"] == 2
    assert weight_node(exported).mode == MODES[ggml_type]
    found = exported(indices)
    assert_dtype(found, dtype)
    np.testing.assert_array_equal(to_numpy(found), module(indices).double().numpy())


@TYPES
@ANY_DTYPE
def test_experts(ggml_type, dtype):
    blocks = quantize(ggml_type, 4 * 5, 256).reshape(4, 5, -1)
    x, indices = random((3, 1, 1, 256), dtype), torch.tensor([[0, 3], [1, 1], [2, 0]])
    exported = export(Experts(blocks, ggml_type, dtype), x, indices)
    assert exported.nodes() == {"GatherQmmNode": 1}
    assert weight_node(exported).mode == MODES[ggml_type]
    assert_expert_product(exported(x, indices), ggml_type, blocks, x, indices, dtype)


@TYPES
def test_a_scale_that_the_mode_has_not_stays_fused(ggml_type, caplog):
    blocks, x = quantize(ggml_type, 5, 256), random((1, 256), torch.float32)
    blocks[4, 0] = 255
    with caplog.at_level(logging.WARNING, "mlx_gguf.lowering"):
        exported = export(linear(blocks, ggml_type, torch.float32), x)
    assert exported.nodes() == {"MetalKernelNode": 1}
    assert f"{ggml_type} stays fused in repack mode: MLX has no exact form" in caplog.text
    assert np.isfinite(exact_weights(ggml_type, blocks)[:4]).all()
    assert_product(exported(x)[:, :4], ggml_type, blocks[:4], x, torch.float32)


def test_one_form_for_all_of_a_weight(monkeypatch):
    """If only its first rows have a float view, all are affine."""
    (name, *_) = MODES
    fmt, blocks = formats.get(name), quantize(name, 3, 256).numpy()

    def float_view(fmt, rows):
        return None if (rows == blocks[2]).all() else formats.float_view(fmt, rows)

    monkeypatch.setattr(formats, "VIEWS", (float_view, formats.affine_view))
    monkeypatch.setattr(quantized, "_CHUNK_WEIGHTS", 256)
    found = quantized.repack(fmt, blocks)
    assert (found.mode, found.packed.shape[0]) == (formats.AFFINE, 3)


def test_weights_too_large_for_the_activations_are_refused():
    """Of all types the first one has scales without bounds: an exponent of 8 bits."""
    (name, *_) = MODES
    blocks, x = quantize(name, 5, 256), random((1, 256), torch.float16)
    blocks[2, 0] = 127 + 14
    module = linear(blocks, name, torch.float16)
    with pytest.raises(ValueError, match="weight.*expected weights within 65504"):
        export(module, x)
    exported = export(module, x / 2**14, affine_dtype="float32")
    assert_product(exported(x / 2**14), name, blocks, x / 2**14, torch.float16)
