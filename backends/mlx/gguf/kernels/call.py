"""Calls the kernels directly, without a `.pte`: on a Mac or on Linux."""

from __future__ import annotations

import math

import mlx.core as mx

from backends.mlx import metal
from backends.mlx.common.dtypes import dtype_name
from backends.mlx.gguf.formats import BlockFormat
from backends.mlx.gguf.kernels import dispatch
from backends.mlx.gguf.kernels.kernel import Kernel, experts, gather, linear


def run_linear(
    fmt: BlockFormat,
    x: mx.array,
    weight,
    bias: mx.array | None = None,
    operation: str | None = None,
    out_dtype: mx.Dtype | None = None,
) -> mx.array:
    """`x @ weight.T + bias` on raw blocks.

    x: (..., K) float32, float16 or bfloat16, at least one row. weight: uint8
    (N, bytes a row), array of MLX or NumPy. bias: (N,), any of the float types.
    operation: one of `operations.LINEAR`, by default the one that the rows of x select.
    Returns (..., N) of `out_dtype`, by default the type of x.
    """
    outputs, row_bytes = weight.shape
    _check_columns(fmt, x, row_bytes)
    rows = math.prod(x.shape[:-1])
    kernel = linear(
        fmt,
        operation or dispatch.for_rows(rows),
        dtype_name(x.dtype),
        dtype_name(out_dtype or x.dtype),
        outputs,
        None if bias is None else dtype_name(bias.dtype),
    )
    inputs = [x, weight] if bias is None else [x, weight, bias]
    return run_kernel(kernel, inputs, (*x.shape[:-1], outputs), outputs, rows)


def run_gather(fmt: BlockFormat, weight, indices: mx.array, out_dtype: mx.Dtype) -> mx.array:
    """Rows of the table `weight` by `indices`; zeros where an index is out of range.

    weight: uint8 (V, bytes a row), array of MLX or NumPy. indices: int32 or int64, any
    shape, not empty. Returns (*indices.shape, K) of `out_dtype`.
    """
    columns = fmt.columns(weight.shape[1])
    kernel = gather(fmt, dtype_name(out_dtype), dtype_name(indices.dtype))
    return run_kernel(kernel, [weight, indices], (*indices.shape, columns), columns, indices.size)


def run_experts(
    fmt: BlockFormat,
    x: mx.array,
    weight,
    indices: mx.array,
    operation: str | None = None,
    out_dtype: mx.Dtype | None = None,
) -> mx.array:
    """`x[r / repeat] @ weight[indices[r]].T` for each index r, on raw blocks.

    x: (..., K) float32, float16 or bfloat16. weight: uint8 (E, N, bytes a row), array of MLX
    or NumPy. indices: int32 or int64, any shape, R elements, not empty; R is `repeat` times
    the rows of x, which go with neighbouring indices. operation: one of `operations.EXPERTS`,
    by default the one that R and E select. Returns (*indices.shape, N) of `out_dtype`, by default
    the type of x; zeros where an index is not in [0, E).
    """
    count, outputs, row_bytes = weight.shape
    _check_columns(fmt, x, row_bytes)
    rows = math.prod(x.shape[:-1])
    if indices.size % rows:
        raise ValueError(
            f"indices: expected a multiple of the {rows} rows of x, found {indices.size}"
        )
    kernel = experts(
        fmt,
        operation or dispatch.expert_for_rows(indices.size, count),
        dtype_name(x.dtype),
        dtype_name(out_dtype or x.dtype),
        outputs,
        dtype_name(indices.dtype),
    )
    m = count if kernel.launch.per_expert else indices.size
    return run_kernel(kernel, [x, weight, indices], (*indices.shape, outputs), outputs, m)


def _check_columns(fmt: BlockFormat, x: mx.array, row_bytes: int) -> None:
    columns = fmt.columns(row_bytes)
    if x.shape[-1] != columns:
        raise ValueError(f"x: expected {columns} columns, as the weight has, found {x.shape[-1]}")


def run_kernel(kernel: Kernel, inputs: list, shape: tuple, n: int, m: int) -> mx.array:
    """Runs `kernel` on `inputs`, in the order of its input names, for an output of `shape`.

    n, m: what its grid covers, see `dispatch.Launch.grid`.
    """
    run = metal.metal_kernel(
        name=kernel.name,
        input_names=list(kernel.input_names),
        output_names=list(kernel.output_names),
        source=kernel.source,
        header=kernel.header,
    )
    template = [
        (name, getattr(mx, value) if isinstance(value, str) else value)
        for name, value in kernel.template
    ]
    (out,) = run(
        inputs=inputs,
        template=template,
        grid=kernel.launch.grid(n, m),
        threadgroup=kernel.launch.threadgroup,
        output_shapes=[shape],
        output_dtypes=[dict(template)["OutT"]],
    )
    return out
