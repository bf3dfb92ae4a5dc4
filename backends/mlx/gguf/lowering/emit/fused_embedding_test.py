"""Embeddings of GGUF tables, lowered to a gather that reads the blocks, run and compared."""

import numpy as np
import pytest
import torch
from torch.export import Dim

from backends.mlx.common.errors import InputError
from backends.mlx.gguf.lowering import export_module
from backends.mlx.gguf.lowering.testing import (
    DTYPES,
    Exported,
    assert_dtype,
    embedding,
    exact_weights,
    quantize,
    to_numpy,
)

ROWS = 67


def export(module, *inputs, **kwargs):
    return Exported(export_module(module, inputs, mode="fused", **kwargs))


def assert_rows(found, ggml_type, blocks, indices, dtype):
    """Checks for the correct rounding of the exact weights, and zeros outside the table."""
    table = torch.from_numpy(exact_weights(ggml_type, blocks)).to(dtype).double().numpy()
    index = indices.numpy()
    inside = (index >= 0) & (index < len(table))
    expected = np.where(inside[..., None], table[np.where(inside, index, 0)], 0)
    assert_dtype(found, dtype)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(to_numpy(found), expected)


@pytest.mark.parametrize(
    "ggml_type, dtype, index_dtype, indices",
    [
        ("Q4_K", "float32", torch.int64, [0]),
        ("Q4_K", "bfloat16", torch.int32, [[5, 66, 0]]),
        ("Q4_K", "float16", torch.int64, 3),
        ("Q6_K", "bfloat16", torch.int64, [list(range(8)), list(range(59, 67))]),
        ("Q6_K", "float32", torch.int32, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_gather(ggml_type, dtype, index_dtype, indices):
    dtype, indices = DTYPES[dtype], torch.tensor(indices, dtype=index_dtype)
    blocks = quantize(ggml_type, ROWS, 768)
    exported = export(embedding(blocks, ggml_type, dtype), indices)
    assert exported.kernels() == [f"gguf_{ggml_type.lower()}_gather"]
    assert_rows(exported(indices), ggml_type, blocks, indices, dtype)


def test_index_outside_the_table_gives_zeros():
    blocks = quantize("Q4_K", ROWS, 256)
    exported = export(embedding(blocks, "Q4_K", torch.float32), torch.tensor([1, 2, 3]))
    indices = torch.tensor([-1, 66, ROWS])
    assert_rows(exported(indices), "Q4_K", blocks, indices, torch.float32)


def test_no_indices():
    indices = torch.empty(2, 0, dtype=torch.int64)
    with pytest.raises(InputError, match="expected at least one row, found none"):
        export(embedding(quantize("Q4_K", ROWS, 256), "Q4_K", torch.float32), indices)


def test_dynamic_indices():
    blocks = quantize("Q4_K", ROWS, 256)
    exported = export(
        embedding(blocks, "Q4_K", torch.float32),
        torch.tensor([[1, 2, 3]]),
        dynamic_shapes=({1: Dim("length", max=16)},),
    )
    for count in (1, 3, 16):
        indices = torch.arange(count)[None]
        assert_rows(exported(indices), "Q4_K", blocks, indices, torch.float32)
