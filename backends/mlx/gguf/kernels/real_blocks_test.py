"""Blocks that ggml's quantizers made of weights: gathered exactly, multiplied within the rule."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.formats.testing import quantized
from backends.mlx.gguf.kernels import testing

ROWS, COLUMNS = 37, 768


@pytest.fixture(params=formats.FORMATS)
def real(request) -> tuple[formats.BlockFormat, np.ndarray]:
    fmt = formats.get(request.param)
    return fmt, quantized(fmt, ROWS, COLUMNS)


def test_gather(real):
    fmt, blocks = real
    with metal.checked():
        out = kernels.run_gather(fmt, blocks, mx.arange(ROWS, dtype=mx.int64), mx.float32)
    expected = formats.dequantize(fmt, blocks)
    np.testing.assert_array_equal(np.array(out).view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("rows", [1, 8, 16, 33])
def test_linear(real, rows):
    fmt, blocks = real
    x = testing.activations("offset", (rows, COLUMNS), "float32")
    x64 = testing.as_float64(x)
    exact = x64 @ formats.dequantize(fmt, blocks).astype(np.float64).T
    with metal.checked():
        out = kernels.run_linear(fmt, x, blocks)
    bound = formats.linear_bound(x64, formats.largest_magnitude(fmt, blocks), exact, "float32")
    assert (np.abs(testing.as_float64(out) - exact) <= bound).all()
