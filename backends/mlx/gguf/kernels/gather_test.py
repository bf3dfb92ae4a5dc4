"""The embedding gather: bit-equal to the oracle, safe for every index."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal
from backends.mlx.common.dtypes import FLOATS
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.formats import testing
from backends.mlx.gguf.kernels import units

TYPES = pytest.mark.parametrize("type_name", formats.FORMATS)
ROWS, COLUMNS = 37, 768
# Arrays of fewer than CONSTANT_BELOW, 8, indices come in another address space.
SHAPES = ((1,), (2, 3), (7,), (8,), (2, 3, 5))
BUILT = [
    (fmt.name, dtype, index_dtype, shape)
    for fmt in formats.FORMATS.values()
    for dtype in FLOATS
    for index_dtype in units.index_dtypes(fmt, dtype)
    for shape in SHAPES
    if np.prod(shape) >= metal.CONSTANT_BELOW or units.has_few_indices(fmt, dtype)
]


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values rounded to `dtype`, as the bits that its MLX array holds."""
    return bits(mx.array(values).astype(getattr(mx, dtype)))


def bits(values: mx.array) -> np.ndarray:
    return np.array(values.view(mx.uint32 if values.itemsize == 4 else mx.uint16))


@pytest.mark.parametrize("type_name, dtype, index_dtype, shape", BUILT, ids=str)
def test_bit_equal_to_the_oracle(type_name, dtype, index_dtype, shape):
    fmt = formats.get(type_name)
    blocks = testing.blocks(fmt, ROWS, COLUMNS)
    indices = np.random.default_rng(0).integers(0, ROWS, shape)
    with metal.checked():
        out = kernels.run_gather(
            fmt, blocks, mx.array(indices).astype(getattr(mx, index_dtype)), getattr(mx, dtype)
        )
    expected = formats.dequantize(fmt, blocks)[indices]
    np.testing.assert_array_equal(bits(out), rounded(expected, dtype))


@TYPES
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_bytes_decode_as_the_oracle_does(type_name):
    fmt = formats.get(type_name)
    blocks = np.concatenate([testing.random_bytes(fmt, 400, 256), testing.adversarial(fmt, 256)])
    with metal.checked():
        out = kernels.run_gather(fmt, blocks, mx.arange(len(blocks), dtype=mx.int64), mx.float32)
    found, expected = np.array(out), formats.dequantize(fmt, blocks)
    np.testing.assert_array_equal(found, expected)
    # Not a number has no sign.
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))
    assert np.isfinite(expected).any(axis=1).sum() > len(blocks) / 2


@TYPES
def test_index_outside_the_table_gives_zeros(type_name):
    fmt = formats.get(type_name)
    blocks = testing.blocks(fmt, ROWS, COLUMNS)
    indices = [-1, 0, ROWS - 1, ROWS, -(2**31), 2**31 - 1, 2**40]
    with metal.checked():
        out = np.array(kernels.run_gather(fmt, blocks, mx.array(indices, mx.int64), mx.float32))
    exact = formats.dequantize(fmt, blocks)
    np.testing.assert_array_equal(out[1:3], exact[[0, ROWS - 1]])
    assert not out[[0, 3, 4, 5, 6]].any()
    assert not np.signbit(out[0]).any()
