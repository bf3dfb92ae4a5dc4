"""Repack lowering: MLX's own quantized products and dequantize, on weights converted at export.

An index outside the table does here what it does in MLX: `take` counts a negative index from the
end, and any other, as any such index of an expert, reads whatever lies there. The fused kernels
give zeros.
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
    GatherQmmNode,
    IntOrVidOrTid,
    QuantizedMatmulNode,
    ReshapeNode,
    TakeNode,
)

from backends.mlx.common.dtypes import dtype_name
from backends.mlx.common.errors import InputError
from backends.mlx.gguf import formats
from backends.mlx.gguf.lowering.emit.operands import Operands
from backends.mlx.gguf.lowering.emit.quantized import QuantizedWeight
from backends.mlx.gguf.lowering.emit.state import DelegateState, Repacked
from backends.mlx.gguf.lowering.mode import AffineDtype


def emit_linear(P: MLXProgramBuilder, operands: Operands, repacked: Repacked) -> None:
    """Emits `out = x @ weight.T + bias`."""
    dtype = _compute_dtype(P, operands.source_dtype)
    weight = repacked.weight
    constants = _constants(P, repacked, dtype)
    tid = P.slot_to_tid

    x, found = _promoted(P, operands, weight, dtype)
    out = tid(operands.out)
    fields = _fields(P, constants, weight)
    P.emit(QuantizedMatmulNode(x=tid(x), out=out, transpose=True, **fields))
    if operands.bias is not None:
        P.emit(AddNode(a=tid(operands.out), b=tid(operands.bias), out=tid(operands.out)))
        found = torch.promote_types(found, operands.bias_dtype)
    _emit_cast(P, operands, found)


def emit_experts(P: MLXProgramBuilder, operands: Operands, repacked: Repacked) -> None:
    """Emits a row of x times the matrix of its expert, for each index."""
    dtype = _compute_dtype(P, operands.source_dtype)
    weight = repacked.weight
    constants = _constants(P, repacked, dtype)
    tid = P.slot_to_tid

    x, found = _promoted(P, operands, weight, dtype)
    P.emit(
        GatherQmmNode(
            x=tid(x),
            rhs_indices=tid(operands.indices),
            out=tid(operands.out),
            transpose=True,
            **_fields(P, constants, weight),
        )
    )
    _emit_cast(P, operands, found)
    if operands.is_column:
        _emit_reshape(P, operands)


def emit_embedding(P: MLXProgramBuilder, operands: Operands, repacked: Repacked) -> None:
    """Emits a gather of packed rows, scales and biases, and their dequantization."""
    dtype = _compute_dtype(P, operands.dtype)
    weight = repacked.weight
    constants = _constants(P, repacked, dtype)

    taken = {key: _take(P, slot, operands.source) for key, slot in constants.items()}
    P.emit(
        DequantizeNode(
            out=P.slot_to_tid(operands.out),
            dtype=torch_dtype_to_scalar_type(dtype),
            **_fields(P, taken, weight),
        )
    )
    _emit_cast(P, operands, dtype)
    if not operands.leading:
        _emit_reshape(P, operands)


def _compute_dtype(P: MLXProgramBuilder, activation: torch.dtype) -> torch.dtype:
    """The type of affine factors, and of the activations that a float mode gets."""
    exact = DelegateState.of(P).settings.affine_dtype is AffineDtype.FLOAT32
    return torch.float32 if exact else activation


def _constants(P: MLXProgramBuilder, repacked: Repacked, dtype: torch.dtype) -> dict[str, Slot]:
    """Slots of the packed quants, of the scales and of affine biases, by MLX's names of them.

    Affine scales and biases are rounded to `dtype`. A second use of a weight gets the same
    constants.
    """
    name, weight = repacked
    found = {"w": P.make_or_get_constant(f"{name}.packed", weight.packed)}
    if weight.mode != formats.AFFINE:
        scales = formats.FLOAT_MODES[weight.mode].scales
        largest = formats.E2M1.max() * scales[int(weight.scales.max())]
        # MLX decodes tiles of weights to the type of the activations.
        _check_range(name, "weights", largest, dtype)
        found["scales"] = P.make_or_get_constant(f"{name}.scales", weight.scales)
        return found
    for key, values in (("scales", weight.scales), ("biases", weight.biases)):
        assert values is not None
        _check_range(name, key, values.abs().max().item(), dtype)
        found[key] = P.make_or_get_constant(f"{name}.{key}_{dtype_name(dtype)}", values.to(dtype))
    return found


def _check_range(name: str, key: str, largest: float, dtype: torch.dtype) -> None:
    """Raises InputError if `dtype` cannot hold a float32 of magnitude `largest`."""
    if min(largest, torch.finfo(torch.float32).max) > torch.finfo(dtype).max:
        raise InputError(
            f"{name}: expected {key} within {torch.finfo(dtype).max} for {dtype}, "
            f'found {largest}; affine_dtype="float32" keeps them'
        )


def _fields(P: MLXProgramBuilder, slots: dict[str, Slot], weight: QuantizedWeight) -> dict:
    """What every node of MLX says about a quantized weight."""
    fields = {key: P.slot_to_tid(slot) for key, slot in slots.items()}
    return fields | {"group_size": weight.group, "bits": weight.bits, "mode": weight.mode}


def _promoted(
    P: MLXProgramBuilder, operands: Operands, weight: QuantizedWeight, dtype: torch.dtype
) -> tuple[Slot, torch.dtype]:
    """x as a product takes it, and the product's type.

    MLX promotes x to the type of affine factors, as torch does. In a float mode nothing does.
    """
    found = torch.promote_types(operands.source_dtype, dtype)
    if weight.mode == formats.AFFINE or found == operands.source_dtype:
        return operands.source, found
    _, x = P.make_tmp_slot()
    scalar_type = torch_dtype_to_scalar_type(found)
    source = P.slot_to_tid(operands.source)
    P.emit(AsTypeNode(x=source, out=P.slot_to_tid(x), scalar_type=scalar_type))
    return x, found


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


def _emit_reshape(P: MLXProgramBuilder, operands: Operands) -> None:
    """Gives the output the shape that the graph's node has."""
    out = P.slot_to_tid(operands.out)
    P.emit(ReshapeNode(x=out, out=P.slot_to_tid(operands.out), shape=operands.shape))
