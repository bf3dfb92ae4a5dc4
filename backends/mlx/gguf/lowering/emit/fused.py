"""Fused lowering: Metal kernels that read the GGUF blocks as they are in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from executorch.backends.mlx.builder.op_helpers import torch_dtype_to_scalar_type
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import Slot
from executorch.backends.mlx.serialization.mlx_graph_schema import IntOrVid, MetalKernelNode

from backends.mlx.common.dtypes import dtype_name
from backends.mlx.gguf import kernels
from backends.mlx.gguf.lowering.emit import rows
from backends.mlx.gguf.lowering.emit.operands import Operands
from backends.mlx.gguf.lowering.emit.state import DelegateState
from backends.mlx.overlay.schemas import TEMPLATE_BOOL, TEMPLATE_DTYPE, TEMPLATE_INT


def emit_linear(P: MLXProgramBuilder, operands: Operands) -> None:
    """Emits `out = x @ weight.T + bias`, with the kernel that the number of rows selects."""
    fmt = operands.weight.fmt
    weight = _blocks(P, operands)
    inputs = [operands.source, weight]
    if operands.bias is not None:
        inputs.append(operands.bias)

    def kernel(operation: str) -> kernels.Kernel:
        return kernels.linear(
            fmt,
            operation,
            dtype_name(operands.source_dtype),
            dtype_name(operands.dtype),
            operands.last,
            operands.bias_dtype and dtype_name(operands.bias_dtype),
        )

    ranges = [
        (partial(kernel, operation), first, last) for operation, first, last in kernels.ROW_RANGES
    ]
    _emit_by_rows(P, operands, inputs, ranges)


def emit_embedding(P: MLXProgramBuilder, operands: Operands) -> None:
    """Emits the gather of rows; an index outside [0, V) gives zeros."""
    weight = _blocks(P, operands)
    fmt = operands.weight.fmt
    kernel = partial(
        kernels.gather, fmt, dtype_name(operands.dtype), dtype_name(operands.source_dtype)
    )
    _emit_by_rows(P, operands, [weight, operands.source], [(kernel, 1, None)])


def emit_experts(P: MLXProgramBuilder, operands: Operands) -> None:
    """Emits a row of x times the matrix of its expert, for each index; zeros for one outside."""
    weight, fmt = operands.weight, operands.weight.fmt
    assert weight.experts is not None

    def kernel(operation: str) -> kernels.Kernel:
        return kernels.experts(
            fmt,
            operation,
            dtype_name(operands.source_dtype),
            dtype_name(operands.dtype),
            operands.last,
            dtype_name(operands.index_dtype),
        )

    ranges = [
        (partial(kernel, operation), first, last)
        for operation, first, last in kernels.expert_row_ranges(weight.experts)
    ]
    inputs = [operands.source, _blocks(P, operands), operands.indices]
    _emit_by_rows(P, operands, inputs, ranges)


def _blocks(P: MLXProgramBuilder, operands: Operands) -> Slot:
    (slot,) = P.slot_map([DelegateState.of(P).placeholder(P, operands.weight)])
    return slot


def _emit_by_rows(
    P: MLXProgramBuilder,
    operands: Operands,
    inputs: list[Slot],
    ranges: Sequence[tuple[Callable[[], kernels.Kernel], int, int | None]],
) -> None:
    """Emits the kernel that the number of rows selects: of (kernel, first, last) in `ranges`."""

    def prepare(make_kernel: Callable[[], kernels.Kernel]) -> Callable[[], None]:
        kernel = make_kernel()
        if kernel.launch.per_expert:
            grid_y = IntOrVid.from_literal(operands.weight.experts)
        else:
            grid_y = operands.rows.tiles(kernel.launch.m_tile)
        return lambda: _emit_kernel(P, kernel, inputs, operands, grid_y)

    rows.emit_by_rows(
        P,
        operands.rows,
        [(partial(prepare, kernel), first, last) for kernel, first, last in ranges],
    )


def _emit_kernel(
    P: MLXProgramBuilder,
    kernel: kernels.Kernel,
    inputs: list[Slot],
    operands: Operands,
    grid_y: IntOrVid,
) -> None:
    """Emits one kernel; its grid's y is the only size that may come at run time."""
    kinds, values = zip(*(_template_argument(value) for _, value in kernel.template), strict=True)
    literal = IntOrVid.from_literal
    P.emit(
        MetalKernelNode(
            name=kernel.name,
            source=kernel.source,
            header=kernel.header,
            inputs=[P.slot_to_tid(slot) for slot in inputs],
            outputs=[P.slot_to_tid(operands.out)],
            input_names=list(kernel.input_names),
            output_names=list(kernel.output_names),
            grid=[
                literal(kernel.launch.grid_x(operands.last)),
                grid_y,
                literal(1),
            ],
            threadgroup=[literal(size) for size in kernel.launch.threadgroup],
            output_shapes_flat=operands.shape,
            output_shape_lengths=[len(operands.shape)],
            output_dtypes=[torch_dtype_to_scalar_type(operands.dtype)],
            template_arg_names=[name for name, _ in kernel.template],
            template_arg_kinds=list(kinds),
            template_arg_values=list(values),
        )
    )


def _template_argument(value: int | bool | str) -> tuple[int, int]:
    """(kind, value) as MetalKernelNode holds them; a string is the name of a dtype."""
    if isinstance(value, str):
        return TEMPLATE_DTYPE, torch_dtype_to_scalar_type(getattr(torch, value))
    return (TEMPLATE_BOOL if isinstance(value, bool) else TEMPLATE_INT), int(value)
