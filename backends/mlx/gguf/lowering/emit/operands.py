"""The operands of an operator with GGUF weights, read from its node for both ways to lower it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import Slot
from executorch.backends.mlx.serialization.mlx_graph_schema import IntOrVid, ReshapeNode
from torch.fx import Node

from backends.mlx.gguf.lowering.emit.rows import Rows
from backends.mlx.gguf.lowering.emit.state import DelegateState
from backends.mlx.gguf.lowering.match.experts import Product
from backends.mlx.gguf.lowering.match.weights import Weight


@dataclass(frozen=True)
class Operands:
    """`source` is x, or the indices of an embedding; `indices` are those of experts.

    leading: the sizes of the output but for the last, which is `last`.
    rows: the product of `leading`.
    dtype: the output's, as the graph's node has it.
    is_column: the last two sizes are exchanged: the output is (R, N, 1), not (R, 1, N).
    """

    weight: Weight
    source: Slot
    source_dtype: torch.dtype
    out: Slot
    dtype: torch.dtype
    leading: list[IntOrVid]
    last: int
    rows: Rows
    bias: Slot | None = None
    bias_dtype: torch.dtype | None = None
    indices: Slot | None = None
    index_dtype: torch.dtype | None = None
    is_column: bool = False

    @property
    def shape(self) -> list[IntOrVid]:
        last = IntOrVid.from_literal(self.last)
        if self.is_column:
            return [*self.leading[:-1], last, self.leading[-1]]
        return [*self.leading, last]


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
        out=P.make_or_get_slot(node),
        dtype=node.meta["val"].dtype,
        leading=leading,
        last=weight.rows,
        rows=rows,
        bias=bias_slot,
        bias_dtype=None if bias is None else bias.meta["val"].dtype,
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
        out=P.make_or_get_slot(node),
        dtype=node.meta["val"].dtype,
        leading=leading,
        last=weight.columns,
        rows=rows,
    )


def of_experts(P: MLXProgramBuilder, node: Node, product: Product) -> Operands:
    """Reads `product`; a column of x becomes the row that MLX's own operators take."""
    source, indices = P.slot_map([product.x, product.indices])
    ids, x = product.indices.meta["val"], product.x.meta["val"]
    leading, rows = _rows(P, product.indices, indices, ids.dim())
    leading.append(IntOrVid.from_literal(1))
    if product.is_column:
        _, row = P.make_tmp_slot()
        shape = [*leading, IntOrVid.from_literal(product.weight.columns)]
        P.emit(ReshapeNode(x=P.slot_to_tid(source), out=P.slot_to_tid(row), shape=shape))
        source = row
    return Operands(
        weight=product.weight,
        source=source,
        source_dtype=x.dtype,
        out=P.make_or_get_slot(node),
        dtype=node.meta["val"].dtype,
        leading=leading,
        last=product.weight.rows,
        rows=rows,
        indices=indices,
        index_dtype=ids.dtype,
        is_column=product.is_column,
    )


def _rows(P: MLXProgramBuilder, node: Node, slot: Slot, count: int) -> tuple[list[IntOrVid], Rows]:
    """The first `count` sizes of a tensor, and their product."""
    sizes = DelegateState.of(P).sizes
    leading = sizes.leading(node, slot, count)
    shape = node.meta["val"].shape[:count]
    return leading, Rows(sizes, math.prod(shape), sizes.product(shape, leading))
