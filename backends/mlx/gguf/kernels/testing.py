"""What the kernel tests share: parameters, inputs, exact products, the comparison."""

from __future__ import annotations

from functools import lru_cache

import mlx.core as mx
import numpy as np

from backends.mlx.common.dtypes import FLOATS, INDICES
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.formats.testing import blocks as tame_blocks

ACTIVATIONS = ("zero-mean", "positive", "offset")
# Of a linear, in the order in which the tests take them: outputs, super-blocks, rows of x, dtypes,
# biases.
LINEAR_PARAMETERS = (
    (1, 3, 5, 67, 301, 512),
    (1, 3, 21),
    (1, 2, 3, 8, 9, 16, 17, 33),
    FLOATS,
    ("none", "same", "float32"),
)
# Of experts: their number, outputs, super-blocks, (rows of x, indices of each), choices, dtypes.
EXPERT_PARAMETERS = (
    (1, 5),
    (1, 3, 67),
    (1, 3),
    ((1, 1), (1, 2), (2, 1), (33, 1), (11, 3), (70, 1), (35, 2)),
    ("mixed", "one", "outside"),
    FLOATS,
    INDICES,
)


@lru_cache(maxsize=4)
def weight(type_name: str, outputs: int, columns: int):
    """Blocks, exact weights float64 and their largest magnitudes."""
    fmt = formats.get(type_name)
    blocks = tame_blocks(fmt, outputs, columns)
    exact = formats.dequantize(fmt, blocks).astype(np.float64)
    return blocks, exact, formats.largest_magnitude(fmt, blocks)


def expert_weights(type_name: str, count: int, outputs: int, columns: int) -> list[np.ndarray]:
    """As `weight`, of `count` matrices of `outputs` rows each."""
    stacked = weight(type_name, count * outputs, columns)
    return [array.reshape(count, outputs, -1) for array in stacked]


def expert_indices(choice: str, experts: int, rows: tuple[int, int]) -> np.ndarray:
    """Indices of the shape `rows`: of any expert, of the last only, or of none too."""
    if choice == "one":
        return np.full(rows, experts - 1)
    beyond = 2 if choice == "outside" else 0
    return np.random.default_rng(rows).integers(-beyond, experts + beyond, rows)


def activations(kind: str, shape: tuple[int, ...], dtype: str) -> mx.array:
    """Zero-mean, all-positive or large-offset activations."""
    values = np.random.default_rng(shape).standard_normal(shape, np.float32)
    if kind == "positive":
        values = np.abs(values)
    elif kind == "offset":
        values = values + 30.0
    return mx.array(values).astype(getattr(mx, dtype))


def bias_dtype(bias: str, dtype: str) -> str | None:
    """The type of a bias "none", "same" or of a dtype, for activations of `dtype`."""
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


def check_experts(
    type_name: str,
    count: int,
    outputs: int,
    super_blocks: int,
    ids: np.ndarray,
    repeat: int,
    dtype: str,
    index_dtype: str = "int64",
    kind: str = "zero-mean",
    operation: str | None = None,
) -> None:
    """Runs rows with `count` experts, `repeat` of `ids` for each row of x, and holds
    every output against the accuracy rule.
    """
    fmt = formats.get(type_name)
    columns = super_blocks * fmt.block_weights
    blocks, exact_weight, reach = expert_weights(type_name, count, outputs, columns)
    x = activations(kind, (ids.size // repeat, columns), dtype)
    indices = mx.array(ids).astype(getattr(mx, index_dtype))
    out = kernels.run_experts(fmt, x, blocks, indices, operation)
    assert out.shape == (*ids.shape, outputs)
    assert out.dtype == x.dtype
    exact, bound = experts_product(exact_weight, reach, as_float64(x), ids.ravel(), dtype)
    check_outputs(out.reshape(exact.shape), exact, bound)


def experts_product(
    exact_weight: np.ndarray, reach: np.ndarray, x: np.ndarray, ids: np.ndarray, dtype: str
) -> tuple[np.ndarray, np.ndarray]:
    """The exact product of the rows of x with their experts, and the largest error: (R, N).

    Where one of `ids` is outside, both are 0.
    """
    rows = x.repeat(ids.size // len(x), axis=0)
    exact = np.zeros((ids.size, exact_weight.shape[1]))
    bound = np.zeros_like(exact)
    for expert in range(len(exact_weight)):
        at = ids == expert
        exact[at] = rows[at] @ exact_weight[expert].T
        bound[at] = formats.linear_bound(rows[at], reach[expert], exact[at], dtype)
    return exact, bound


def check_outputs(out: mx.array, exact: np.ndarray, bound: np.ndarray) -> None:
    """Fails where an output is farther than `bound` from the exact one, naming the worst."""
    error = np.abs(as_float64(out) - exact)
    worst = np.unravel_index((error - bound).argmax(), error.shape)
    assert (error <= bound).all(), (
        f"output {worst}: expected {exact[worst]} within {bound[worst]:.3g}, "
        f"found an error of {error[worst]:.3g}"
    )
