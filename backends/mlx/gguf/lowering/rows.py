"""Choosing by the number of rows: at export where it is static, else when the program runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy
import torch
from executorch.backends.mlx.builder.op_helpers import (
    emit_floordiv,
    emit_if_else,
    emit_product,
    torch_dtype_to_scalar_type,
)
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import Slot
from executorch.backends.mlx.serialization.mlx_graph_schema import FullNode, IntOrVid
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest value a size can take; no greatest where it is unbounded."""

    lower: int
    upper: int | None

    def meet(self, lower: int, upper: int | None) -> bool:
        """Whether some value lies in [lower, upper]."""
        return (upper is None or self.lower <= upper) and (
            self.upper is None or lower <= self.upper
        )


def bounds(sizes: Sequence[int | torch.SymInt]) -> Bounds:
    """The bounds of the product of `sizes`, 1 if there are none."""
    product = math.prod(sizes)
    if isinstance(product, int):
        return Bounds(product, product)
    expression = product.node.expr
    known = product.node.shape_env.var_to_range
    ranges = {symbol: _widened(known[symbol]) for symbol in expression.free_symbols}
    found = bound_sympy(expression, ranges)
    upper = None if found.upper in (int_oo, sympy.oo) else int(found.upper)
    return Bounds(max(0, int(found.lower)), upper)


def _widened(found: ValueRanges) -> ValueRanges:
    """`found`, from 0 where torch may have raised the lower bound.

    torch.export assumes that a dynamic size is neither 0 nor 1, and its decompositions drop a
    smaller minimum that the user declared (`Dim(min=1)` becomes [2, ...]). Sizes 0 and 1 still
    come at run time: the decode step of a language model is M = 1.
    """
    return ValueRanges(0 if found.lower <= 2 else found.lower, found.upper)


def emit_by_rows(
    P: MLXProgramBuilder,
    shape: list[IntOrVid],
    limits: Bounds,
    ranges: Sequence[tuple[object, int, int | None]],
    emit: Callable[[object, IntOrVid], None],
    emit_empty: Callable[[], None],
) -> None:
    """Emits the one of `ranges` that the number of rows falls in.

    Args:
        shape: the leading sizes whose product is the number of rows.
        limits: its bounds; ranges outside them are not emitted.
        ranges: (choice, first, last), ascending from 1 and without gaps; last None: no end.
        emit: called with a choice and the number of rows.
        emit_empty: called for 0 rows.
    """
    rows = emit_product(P, shape)
    branches = [(first, choice) for choice, first, last in ranges if limits.meet(first, last)]
    if limits.lower == 0:
        branches.insert(0, (0, None))
    _emit_branches(P, rows, branches, emit, emit_empty)


def _emit_branches(P, rows, branches, emit, emit_empty):
    """Tests the highest branch first: rows // first is nonzero from `first` on, as rows >= 0."""
    first, choice = branches[-1]

    def emit_last():
        if choice is None:
            emit_empty()
        else:
            emit(choice, rows)

    if len(branches) == 1:
        emit_last()
        return
    at_least = emit_floordiv(P, rows, IntOrVid.from_literal(first)) if first > 1 else rows
    emit_if_else(
        P, at_least, emit_last, lambda: _emit_branches(P, rows, branches[:-1], emit, emit_empty)
    )


def emit_empty(P: MLXProgramBuilder, out: Slot, shape: list[IntOrVid], dtype: torch.dtype) -> None:
    """Emits an array without elements: a Metal grid may not be empty, so no kernel makes one."""
    P.emit(
        FullNode(
            out=P.slot_to_tid(out),
            shape=shape,
            v=P.to_float_or_vid(0.0),
            scalar_type=torch_dtype_to_scalar_type(dtype),
        )
    )
