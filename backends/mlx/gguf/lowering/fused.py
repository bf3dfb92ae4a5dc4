"""Fused lowering: Metal kernels that read the GGUF blocks as they are in the file."""

from __future__ import annotations

import torch
from executorch.backends.mlx.builder.op_helpers import emit_ceil_div, torch_dtype_to_scalar_type
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import Slot
from executorch.backends.mlx.serialization.mlx_graph_schema import IntOrVid, MetalKernelNode

from backends.mlx.gguf import kernels
from backends.mlx.gguf.lowering import rows
from backends.mlx.gguf.lowering.operands import Operands
from backends.mlx.gguf.lowering.state import DelegateState

# Kinds of a template argument in MetalKernelNode (ExecuTorch's schema.fbs).
_INT, _BOOL, _DTYPE = 0, 1, 2


def emit_linear(P: MLXProgramBuilder, operands: Operands) -> None:
    """Emits `out = x @ weight.T + bias`, with the kernel that the number of rows selects."""
    fmt = operands.weight.fmt
    weight = _blocks(P, operands)
    inputs = [operands.source, weight]
    if operands.bias is not None:
        inputs.append(operands.bias)

    def emit(operation: str, row_count: IntOrVid) -> None:
        kernel = kernels.linear(
            fmt,
            operation,
            _name(operands.source_dtype),
            _name(operands.dtype),
            operands.last,
            _name(operands.bias_dtype),
        )
        _emit_kernel(P, kernel, inputs, operands, row_count)

    _emit_rows(P, operands, kernels.row_ranges(fmt, operands.last), emit)


def emit_embedding(P: MLXProgramBuilder, operands: Operands) -> None:
    """Emits the gather of rows; an index outside [0, V) gives zeros."""
    fmt = operands.weight.fmt
    weight = _blocks(P, operands)

    def emit(operation: str, index_count: IntOrVid) -> None:
        kernel = kernels.gather(fmt, _name(operands.dtype), _name(operands.source_dtype))
        _emit_kernel(P, kernel, [weight, operands.source], operands, index_count)

    _emit_rows(P, operands, [("gather", 1, None)], emit)


def _blocks(P: MLXProgramBuilder, operands: Operands) -> Slot:
    (slot,) = P.slot_map([DelegateState.of(P).placeholder(P, operands.weight)])
    return slot


def _emit_rows(P, operands: Operands, ranges, emit) -> None:
    rows.emit_by_rows(
        P,
        operands.leading,
        operands.limits,
        ranges,
        emit,
        lambda: rows.emit_empty(P, operands.out, operands.shape, operands.dtype),
    )


def _emit_kernel(
    P: MLXProgramBuilder,
    kernel: kernels.Kernel,
    inputs: list[Slot],
    operands: Operands,
    row_count: IntOrVid,
) -> None:
    """Emits one kernel; its grid's y is the only size that may come at run time."""
    kinds, values = zip(*(_template_argument(value) for _, value in kernel.template), strict=True)
    literal = IntOrVid.from_literal
    m_tile = kernel.launch.m_tile
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
                row_count if m_tile == 1 else emit_ceil_div(P, row_count, m_tile),
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
        return _DTYPE, torch_dtype_to_scalar_type(getattr(torch, value))
    return (_BOOL if isinstance(value, bool) else _INT), int(value)


def _name(dtype: torch.dtype | None) -> str | None:
    """"float32" for torch.float32: the kernels' names of dtypes."""
    return None if dtype is None else str(dtype).removeprefix("torch.")
