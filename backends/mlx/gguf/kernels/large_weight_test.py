"""Weights of more than 2**31 bytes: the last rows are read where they are.

The weight is a sparse file: only the last rows hold blocks, and only they take room.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.formats.testing import blocks as tame_blocks
from backends.mlx.gguf.kernels import testing

TYPES = pytest.mark.parametrize("type_name", formats.FORMATS)
FILLED = 70  # more than a tile of outputs


@pytest.fixture
def sparse(tmp_path):
    """Makes (weight, blocks): `blocks` are the last FILLED rows of `weight`."""

    def make(fmt: formats.BlockFormat, columns: int):
        row_bytes = fmt.row_bytes(columns)
        rows = 2**31 // row_bytes + 2 * FILLED
        blocks = tame_blocks(fmt, FILLED, columns)
        weight = np.memmap(tmp_path / "weight", np.uint8, "w+", shape=(rows, row_bytes))
        weight[-FILLED:] = blocks
        return weight, blocks

    return make


@TYPES
@pytest.mark.parametrize("operation", kernels.LINEAR)
def test_linear(type_name, operation, sparse):
    fmt = formats.get(type_name)
    columns = 21 * fmt.block_weights
    weight, blocks = sparse(fmt, columns)
    rows = weight.shape[0]
    x = testing.activations("zero-mean", (1, columns), "bfloat16")
    tile = kernels.launch(fmt, operation, rows).n_tile
    last = -(-rows // tile)
    with metal.checked(threadgroups=(last - 2, last)):
        out = kernels.run_linear(fmt, x, weight, operation=operation)
    exact = formats.dequantize(fmt, blocks).astype(np.float64) @ testing.as_float64(x)[0]
    computed = min(rows - (last - 2) * tile, FILLED)
    found = testing.as_float64(out)[0, -computed:]
    bound = formats.linear_bound(
        testing.as_float64(x), formats.largest_magnitude(fmt, blocks), exact[None], "bfloat16"
    )[0]
    assert computed > 1
    assert (np.abs(found - exact[-computed:]) <= bound[-computed:]).all()


@TYPES
@pytest.mark.parametrize("operation", kernels.EXPERTS)
def test_experts(type_name, operation, sparse):
    fmt = formats.get(type_name)
    columns = 21 * fmt.block_weights
    weight, blocks = sparse(fmt, columns)
    experts = weight.shape[0] // FILLED
    stack = weight[-experts * FILLED :].reshape(experts, FILLED, -1)
    x = testing.activations("zero-mean", (1, columns), "bfloat16")
    indices = mx.array([experts - 1] * 8, mx.int64)
    launch = kernels.launch(fmt, operation, FILLED)
    tiles = -(-FILLED // launch.n_tile)
    last = tiles * (experts if launch.per_expert else indices.size)
    with metal.checked(threadgroups=(last - tiles, last)):
        out = kernels.run_experts(fmt, x, stack, indices, operation)
    exact, bound = testing.experts_product(
        formats.dequantize(fmt, blocks).astype(np.float64)[None],
        formats.largest_magnitude(fmt, blocks)[None],
        testing.as_float64(x),
        np.zeros(1, int),
        "bfloat16",
    )
    testing.check_outputs(out[-1:], exact, bound)


@TYPES
def test_gather(type_name, sparse):
    fmt = formats.get(type_name)
    weight, blocks = sparse(fmt, fmt.block_weights)
    rows = weight.shape[0]
    indices = [rows - 1, rows - FILLED, rows]
    with metal.checked():
        out = kernels.run_gather(fmt, weight, mx.array(indices, mx.int64), mx.float32)
    exact = formats.dequantize(fmt, blocks)
    np.testing.assert_array_equal(np.array(out), [exact[-1], exact[0], 0 * exact[0]])
