"""Products with the matrices of experts, against numpy: float16 in and out, float32 between."""

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.runner.testing import check, reals, run

# Two rows of x, each for two experts of three.
ROWS, INDICES = (2, 1, 1, 64), np.array([[0, 2], [2, 1]], np.int32)


def products(x, weights):
    """x (2, 1, 1, K) and weights (3, N, K) to (2, 2, 1, N), float16."""
    exact = np.einsum("tk,tjnk->tjn", x[:, 0, 0].astype(float), weights[INDICES].astype(float))
    return exact[:, :, None].astype(np.float16)


def test_gather_mm(tmp_path):
    x, weights = reals(*ROWS).astype(np.float16), reals(3, 5, 64).astype(np.float16)
    inputs = {"a": x, "b": weights.transpose(0, 2, 1).copy(), "rhs_indices": INDICES}
    check(tmp_path, "GatherMmNode", inputs, products(x, weights), 1e-3)


def quantized():
    packed, scales, biases = mx.quantize(mx.array(reals(3, 32, 64)), group_size=32, bits=4)
    factors = [factor.astype(mx.float16) for factor in (scales, biases)]
    weights = mx.dequantize(packed, *(f.astype(mx.float32) for f in factors), 32, 4)
    named = dict(zip(("w", "scales", "biases"), map(np.array, (packed, *factors)), strict=True))
    return named, np.array(weights)


def test_gather_qmm(tmp_path):
    x, (named, weights) = reals(*ROWS).astype(np.float16), quantized()
    inputs = {"x": x, **named, "rhs_indices": INDICES}
    fields = {"mode": "affine", "group_size": 32, "bits": 4}
    check(tmp_path, "GatherQmmNode", inputs, products(x, weights), 1e-3, **fields)


def test_gather_qmm_without_biases(tmp_path):
    x, (named, weights) = reals(*ROWS).astype(np.float16), quantized()
    del named["biases"]
    inputs = {"x": x, **named, "rhs_indices": INDICES}
    fields = {"mode": "affine", "group_size": 32, "bits": 4}
    with pytest.raises(ProgramError, match="biases: expected a tensor"):
        run(tmp_path, "GatherQmmNode", inputs, products(x, weights), **fields)


@pytest.mark.parametrize("index", [-1, 3, 2**20])
def test_experts_that_are_not_there(tmp_path, index):
    x, (named, weights) = reals(*ROWS).astype(np.float16), quantized()
    indices = np.array([[0, 2], [2, index]], np.int32)
    fields = {"mode": "affine", "group_size": 32, "bits": 4}
    out = products(x, weights)
    message = f"rhs_indices: expected 0 to 2, found {index}"
    with pytest.raises(ProgramError, match=message):
        inputs = {"x": x, **named, "rhs_indices": indices}
        run(tmp_path, "GatherQmmNode", inputs, out, **fields)
    with pytest.raises(ProgramError, match=message):
        inputs = {"a": x, "b": weights.transpose(0, 2, 1).copy(), "rhs_indices": indices}
        run(tmp_path, "GatherMmNode", inputs, out)


def test_quants_of_no_bits(tmp_path):
    x, (named, weights) = reals(*ROWS).astype(np.float16), quantized()
    inputs = {"x": x, **named, "rhs_indices": INDICES}
    fields = {"mode": "affine", "group_size": 32, "bits": 0}
    with pytest.raises(ProgramError, match="bits: expected 1 or more, found 0"):
        run(tmp_path, "GatherQmmNode", inputs, products(x, weights), **fields)


@pytest.mark.parametrize("mode, group, scale", [("mxfp4", 32, 120), ("nvfp4", 16, 40)])
def test_float_modes(tmp_path, mode, group, scale):
    """Their scales are bytes; products have the type of x, weights that of the node or bfloat16."""
    x = reals(2, 64).astype(np.float16)
    quants = np.random.default_rng(0).integers(0, 2**32, (5, 8), np.uint32)
    scales = np.arange(scale, scale + 5 * 64 // group, dtype=np.uint8).reshape(5, -1)
    fields = {"mode": mode, "group_size": group, "bits": 4}
    dequantized = mx.dequantize(mx.array(quants), mx.array(scales), dtype=mx.float32, **fields)
    exact = x.astype(float) @ np.array(dequantized, float).T
    inputs = {"x": x, "w": quants, "scales": scales}
    check(tmp_path, "QuantizedMatmulNode", inputs, exact.astype(np.float16), 1e-3, **fields)
    del inputs["x"]
    check(tmp_path, "DequantizeNode", inputs, np.array(dequantized), 0, dtype=6, **fields)
    experts = {"x": x[:, None], "w": quants[None], "scales": scales[None],
               "rhs_indices": np.array([0, 0], np.int32)}  # fmt: skip
    exact = exact[:, None].astype(np.float16)
    check(tmp_path, "GatherQmmNode", experts, exact, 1e-3, **fields)
