"""What the kernel tests share: inputs, the exact product, the comparison."""

from __future__ import annotations

from functools import lru_cache

import mlx.core as mx
import numpy as np

from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.formats import testing as sample

OUTPUTS = (1, 3, 5, 67, 301, 512)
SUPER_BLOCKS = (1, 3, 21)
ROWS = (1, 2, 3, 8, 9, 16, 17, 33)
DTYPES = kernels.FLOATS
BIASES = ("none", "same", "float32")
ACTIVATIONS = ("zero-mean", "positive", "offset")


@lru_cache(maxsize=4)
def weight(type_name: str, outputs: int, columns: int):
    """Blocks, exact weights float64 and their largest magnitudes."""
    fmt = formats.get(type_name)
    blocks = sample.blocks(fmt, outputs, columns)
    exact = formats.dequantize(fmt, blocks).astype(np.float64)
    return blocks, exact, formats.largest_magnitude(fmt, blocks)


def activations(kind: str, shape: tuple[int, ...], dtype: str) -> mx.array:
    """Zero-mean, all-positive or large-offset activations."""
    values = np.random.default_rng(shape).standard_normal(shape, np.float32)
    if kind == "positive":
        values = np.abs(values)
    elif kind == "offset":
        values = values + 30.0
    return mx.array(values).astype(getattr(mx, dtype))


def bias_dtype(bias: str, dtype: str) -> str | None:
    """The type of a bias of the kind `bias`, one of BIASES, for activations of `dtype`."""
    return {"none": None, "same": dtype}.get(bias, bias)


def as_float64(values: mx.array) -> np.ndarray:
    return np.array(values.astype(mx.float32)).astype(np.float64)


def check_linear(
    type_name: str,
    outputs: int,
    super_blocks: int,
    rows: int,
    dtype: str,
    bias: str = "none",
    kind: str = "zero-mean",
    operation: str | None = None,
) -> None:
    """Runs one linear and holds every output against the accuracy rule."""
    fmt = formats.get(type_name)
    blocks, exact_weight, reach = weight(type_name, outputs, super_blocks * fmt.block_weights)
    x = activations(kind, (rows, exact_weight.shape[1]), dtype)
    x64 = as_float64(x)
    exact = x64 @ exact_weight.T
    bias_array = None
    if bias != "none":
        bias_array = activations("zero-mean", (outputs,), bias_dtype(bias, dtype))
        exact = exact + as_float64(bias_array)
    out = kernels.run_linear(fmt, x, blocks, bias_array, operation)
    assert out.shape == (rows, outputs)
    assert out.dtype == x.dtype
    check_outputs(out, exact, formats.linear_bound(x64, reach, exact, dtype))


def check_outputs(out: mx.array, exact: np.ndarray, bound: np.ndarray) -> None:
    """Fails where an output is farther than `bound` from the exact one, naming the worst."""
    error = np.abs(as_float64(out) - exact)
    worst = np.unravel_index((error - bound).argmax(), error.shape)
    assert (error <= bound).all(), (
        f"output {worst}: expected {exact[worst]} within {bound[worst]:.3g}, "
        f"found an error of {error[worst]:.3g}"
    )
