"""What the tests of experts share: inputs, the exact product, the comparison."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.kernels import testing as cases

EXPERTS = (1, 5)
OUTPUTS = (1, 3, 67)
SUPER_BLOCKS = (1, 3)
# (rows of x, indices of each)
ROWS = ((1, 1), (1, 2), (2, 1), (33, 1), (11, 3), (70, 1), (35, 2))
CHOICES = ("mixed", "one", "outside")
# In the order in which the tests take them.
PARAMETERS = (EXPERTS, OUTPUTS, SUPER_BLOCKS, ROWS, CHOICES, cases.DTYPES, kernels.INDICES)


def indices(choice: str, experts: int, rows: tuple[int, int]) -> np.ndarray:
    """Indices of the shape `rows`: of any expert, of the last only, or of none too."""
    if choice == "one":
        return np.full(rows, experts - 1)
    beyond = 2 if choice == "outside" else 0
    return np.random.default_rng(rows).integers(-beyond, experts + beyond, rows)


def weight(type_name: str, count: int, outputs: int, columns: int) -> list[np.ndarray]:
    """As `cases.weight`, of `count` matrices of `outputs` rows each."""
    stacked = cases.weight(type_name, count * outputs, columns)
    return [array.reshape(count, outputs, -1) for array in stacked]


def check(
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
    blocks, exact_weight, reach = weight(type_name, count, outputs, columns)
    x = cases.activations(kind, (ids.size // repeat, columns), dtype)
    indices = mx.array(ids).astype(getattr(mx, index_dtype))
    out = kernels.run_experts(fmt, x, blocks, indices, operation)
    assert out.shape == (*ids.shape, outputs)
    assert out.dtype == x.dtype
    exact, bound = product(exact_weight, reach, cases.as_float64(x), ids.ravel(), dtype)
    cases.check_outputs(out.reshape(exact.shape), exact, bound)


def product(
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
