"""The operands of a linear or an embedding, read from its node for both ways of lowering it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import Slot
from executorch.backends.mlx.serialization.mlx_graph_schema import IntOrVid, ReshapeNode
from torch.fx import Node

from backends.mlx.gguf.lowering.rows import Rows
from backends.mlx.gguf.lowering.state import DelegateState
from backends.mlx.gguf.lowering.weights import Weight


@dataclass(frozen=True)
class Operands:
    """`source` is x of a linear, or the indices of an embedding.

    leading: the sizes of the output but for the last, which is `last`.
    rows: the product of `leading`.
    dtype: the output's, as the graph's node has it.
    """

    weight: Weight
    source: Slot
    source_dtype: torch.dtype
    bias: Slot | None
    bias_dtype: torch.dtype | None
    out: Slot
    dtype: torch.dtype
    leading: list[IntOrVid]
    last: int
    rows: Rows

    @property
    def shape(self) -> list[IntOrVid]:
        return [*self.leading, IntOrVid.from_literal(self.last)]


def of_linear(P: MLXProgramBuilder, node: Node, weight: Weight) -> Operands:
    """Reads `aten.linear(x (..., K), weight (N, K), bias (N,) or None)`."""
    x = node.args[0]
    bias = node.args[2] if len(node.args) > 2 else None
    source, bias_slot = P.slot_map([x, bias])
    leading, rows = _rows(P, x, source, x.meta["val"].dim() - 1)
    return Operands(
        weight=weight,
        source=source,
        source_dtype=x.meta["val"].dtype,
        bias=bias_slot,
        bias_dtype=None if bias is None else bias.meta["val"].dtype,
        out=P.make_or_get_slot(node),
        dtype=node.meta["val"].dtype,
        leading=leading,
        last=weight.rows,
        rows=rows,
    )


def of_embedding(P: MLXProgramBuilder, node: Node, weight: Weight) -> Operands:
    """Reads `aten.embedding(weight (V, K), indices of any shape)`.

    A scalar index becomes a vector of one: Metal passes a scalar by reference, MLX's dequantize
    takes no vector.
    """
    indices = node.args[1]
    (source,) = P.slot_map([indices])
    leading, rows = _rows(P, indices, source, indices.meta["val"].dim())
    if not leading:
        _, vector = P.make_tmp_slot()
        one = IntOrVid.from_literal(1)
        P.emit(ReshapeNode(x=P.slot_to_tid(source), out=P.slot_to_tid(vector), shape=[one]))
        source = vector
    return Operands(
        weight=weight,
        source=source,
        source_dtype=indices.meta["val"].dtype,
        bias=None,
        bias_dtype=None,
        out=P.make_or_get_slot(node),
        dtype=node.meta["val"].dtype,
        leading=leading,
        last=weight.columns,
        rows=rows,
    )


def _rows(
    P: MLXProgramBuilder, node: Node, slot: Slot, count: int
) -> tuple[list[IntOrVid], Rows]:
    """The first `count` sizes of a tensor, and their product."""
    sizes = DelegateState.of(P).sizes
    leading = sizes.leading(node, slot, count)
    shape = node.meta["val"].shape[:count]
    return leading, Rows(sizes, math.prod(shape), sizes.product(shape, leading))
