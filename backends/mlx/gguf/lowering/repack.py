"""Repack lowering: MLX's own quantized matmul and dequantize, on weights converted at export.

An embedding index outside [0, V) does here what it does in MLX: `take` counts a negative index
from the end of the table, and any other reads whatever lies there. The fused gather gives zeros.
"""

from __future__ import annotations

import torch
from executorch.backends.mlx.builder.op_helpers import torch_dtype_to_scalar_type
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import Slot
from executorch.backends.mlx.serialization.mlx_graph_schema import (
    AddNode,
    AsTypeNode,
    DequantizeNode,
    IntOrVidOrTid,
    QuantizedMatmulNode,
    ReshapeNode,
    TakeNode,
)

from backends.mlx.gguf.lowering import rows
from backends.mlx.gguf.lowering.affine import AffineWeight
from backends.mlx.gguf.lowering.mode import AffineDtype
from backends.mlx.gguf.lowering.operands import Operands


def emit_linear(
    P: MLXProgramBuilder,
    operands: Operands,
    name: str,
    affine: AffineWeight,
    affine_dtype: AffineDtype,
) -> None:
    """Emits `out = x @ weight.T + bias`; `name` names the constants of `affine`."""
    dtype = _factor_dtype(affine_dtype, operands.source_dtype)
    packed, scales, biases = _constants(P, name, affine, dtype)
    out = operands.out

    def emit() -> None:
        P.emit(
            QuantizedMatmulNode(
                x=P.slot_to_tid(operands.source),
                w=P.slot_to_tid(packed),
                scales=P.slot_to_tid(scales),
                biases=P.slot_to_tid(biases),
                out=P.slot_to_tid(out),
                group_size=affine.group,
                bits=affine.bits,
                mode="affine",
                transpose=True,
            )
        )
        # MLX promotes as torch does.
        found = torch.promote_types(operands.source_dtype, dtype)
        if operands.bias is not None:
            tid = P.slot_to_tid
            P.emit(AddNode(a=tid(out), b=tid(operands.bias), out=tid(out)))
            found = torch.promote_types(found, operands.bias_dtype)
        _emit_cast(P, operands, found)

    _emit_unless_empty(P, operands, emit)


def emit_embedding(
    P: MLXProgramBuilder,
    operands: Operands,
    name: str,
    affine: AffineWeight,
    affine_dtype: AffineDtype,
) -> None:
    """Emits a gather of packed rows, scales and biases, and their dequantization."""
    dtype = _factor_dtype(affine_dtype, operands.dtype)
    constants = _constants(P, name, affine, dtype)

    def emit() -> None:
        packed, scales, biases = (_take(P, slot, operands.source) for slot in constants)
        P.emit(
            DequantizeNode(
                w=P.slot_to_tid(packed),
                scales=P.slot_to_tid(scales),
                biases=P.slot_to_tid(biases),
                out=P.slot_to_tid(operands.out),
                group_size=affine.group,
                bits=affine.bits,
                mode="affine",
                dtype=torch_dtype_to_scalar_type(dtype),
            )
        )
        _emit_cast(P, operands, dtype)
        if not operands.leading:
            out = P.slot_to_tid(operands.out)
            P.emit(ReshapeNode(x=out, out=P.slot_to_tid(operands.out), shape=operands.shape))

    _emit_unless_empty(P, operands, emit)


def _factor_dtype(affine_dtype: AffineDtype, activation: torch.dtype) -> torch.dtype:
    return torch.float32 if affine_dtype is AffineDtype.FLOAT32 else activation


def _constants(
    P: MLXProgramBuilder, name: str, affine: AffineWeight, dtype: torch.dtype
) -> tuple[Slot, Slot, Slot]:
    """Slots of the packed quants, and of the scales and biases rounded to `dtype`.

    A second use of a weight gets the same constants.
    """
    suffix = str(dtype).removeprefix("torch.")
    factors = {"scales": affine.scales, "biases": affine.biases}
    return (
        P.make_or_get_constant(f"{name}.packed", affine.packed),
        *(
            P.make_or_get_constant(f"{name}.{key}_{suffix}", _rounded(name, key, values, dtype))
            for key, values in factors.items()
        ),
    )


def _rounded(name: str, key: str, values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    rounded = values.to(dtype)
    if not torch.equal(torch.isfinite(rounded), torch.isfinite(values)):
        raise ValueError(
            f"{name}: expected {key} within {torch.finfo(dtype).max} for {dtype}, "
            f'found {values.abs().max()}; affine_dtype="float32" keeps them'
        )
    return rounded


def _take(P: MLXProgramBuilder, table: Slot, indices: Slot) -> Slot:
    _, out = P.make_tmp_slot()
    index = IntOrVidOrTid.from_tid(P.slot_to_tid(indices))
    P.emit(TakeNode(x=P.slot_to_tid(table), index=index, out=P.slot_to_tid(out), axis=0))
    return out


def _emit_cast(P: MLXProgramBuilder, operands: Operands, found: torch.dtype) -> None:
    """Casts the output, which is `found` so far, to the type that the graph's node has."""
    if found != operands.dtype:
        out = P.slot_to_tid(operands.out)
        scalar_type = torch_dtype_to_scalar_type(operands.dtype)
        P.emit(AsTypeNode(x=out, out=P.slot_to_tid(operands.out), scalar_type=scalar_type))


def _emit_unless_empty(P, operands: Operands, emit) -> None:
    rows.emit_by_rows(
        P,
        operands.rows,
        [(lambda: emit, 1, None)],
        lambda: rows.emit_empty(P, operands.out, operands.shape, operands.dtype),
    )
