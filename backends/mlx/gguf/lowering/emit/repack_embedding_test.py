"""Embeddings of GGUF tables, repacked for MLX's gather and dequantize, run and compared."""

import numpy as np
import pytest
import torch
from torch.export import Dim

from backends.mlx.gguf.lowering import export_module
from backends.mlx.gguf.lowering.testing import (
    DTYPES,
    Exported,
    assert_dtype,
    embedding,
    exact_weights,
    mergeable_q6_k,
    quantize,
    to_numpy,
)

NODES = {"TakeNode": 3, "DequantizeNode": 1}


def export(module, *inputs, **kwargs):
    return Exported(export_module(module, inputs, mode="repack", **kwargs))


@pytest.mark.parametrize("indices", [[0], [[5, 66, 0]], [[[1, 2], [3, 4]]]])
def test_float32(indices):
    blocks, indices = quantize("Q4_K", 67, 768), torch.tensor(indices)
    exported = export(embedding(blocks, "Q4_K", torch.float32), indices)
    assert exported.nodes() == NODES
    expected = exact_weights("Q4_K", blocks)[indices.numpy()]
    np.testing.assert_allclose(to_numpy(exported(indices)), expected, rtol=1e-6, atol=1e-6)


def test_scalar_index():
    blocks, index = quantize("Q4_K", 67, 256), torch.tensor(3)
    exported = export(embedding(blocks, "Q4_K", torch.float32), index)
    expected = exact_weights("Q4_K", blocks)[3]
    np.testing.assert_allclose(to_numpy(exported(index)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_types(dtype):
    dtype, indices = DTYPES[dtype], torch.tensor([[5, 66, 0]], dtype=torch.int32)
    blocks = quantize("Q4_K", 67, 256)
    exported = export(embedding(blocks, "Q4_K", dtype), indices)
    assert exported.nodes() == NODES
    found = exported(indices)
    assert_dtype(found, dtype)
    table = exact_weights("Q4_K", blocks)
    # Scale, bias, product and sum are each rounded to the type.
    allowed = 4 * torch.finfo(dtype).eps * np.abs(table).max()
    assert np.abs(to_numpy(found) - table[indices.numpy()]).max() <= allowed


def test_float32_factors_give_the_correct_rounding():
    blocks, indices = quantize("Q4_K", 67, 256), torch.tensor([5, 66, 0])
    module = embedding(blocks, "Q4_K", torch.bfloat16)
    exported = export(module, indices, affine_dtype="float32")
    assert exported.nodes() == {**NODES, "AsTypeNode": 1}
    found = exported(indices)
    assert_dtype(found, torch.bfloat16)
    expected = module(indices).double().numpy()
    np.testing.assert_array_equal(to_numpy(found), expected)


def test_dynamic_indices():
    blocks = mergeable_q6_k(67, 256)
    exported = export(
        embedding(blocks, "Q6_K", torch.float32),
        torch.tensor([1, 2, 3]),
        dynamic_shapes=({0: Dim("length", max=16)},),
    )
    assert "MetalKernelNode" not in exported.nodes()
    for count in (1, 9):
        indices = torch.arange(count)
        expected = exact_weights("Q6_K", blocks)[indices.numpy()]
        np.testing.assert_allclose(to_numpy(exported(indices)), expected, rtol=1e-6, atol=1e-6)
