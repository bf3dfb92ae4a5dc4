"""Choosing by the number of rows: at export where it is static, else when the program runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy
import torch
from executorch.backends.mlx.builder.op_helpers import emit_if_else, torch_dtype_to_scalar_type
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import Slot
from executorch.backends.mlx.serialization.mlx_graph_schema import FullNode, IntOrVid
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

from backends.mlx.gguf.lowering.emit.sizes import Size, Sizes


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


def bounds(sizes: Sequence[Size]) -> Bounds:
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


@dataclass(frozen=True)
class Rows:
    """The number of rows of an operand: as torch's size, and as the value at run time."""

    sizes: Sizes
    count: Size
    value: IntOrVid

    def tiles(self, tile: int) -> IntOrVid:
        """How many tiles of `tile` rows hold them."""
        return self.sizes.ceil_div(self.count, self.value, tile)


def emit_by_rows(
    P: MLXProgramBuilder,
    rows: Rows,
    ranges: Sequence[tuple[Callable[[], Callable[[], None]], int, int | None]],
    emit_empty: Callable[[], None],
) -> None:
    """Emits the one of `ranges` that the number of rows falls in.

    Args:
        ranges: (prepare, first, last), ascending from 1 and without gaps; last None: no end.
            `prepare` emits what a choice needs computed, and returns what emits the choice
            itself. Ranges outside the bounds of `rows` are not prepared.
        emit_empty: called for 0 rows.
    """
    limits = bounds([rows.count])
    branches = [(first, prepare()) for prepare, first, last in ranges if limits.meet(first, last)]
    if limits.lower == 0:
        branches.insert(0, (0, emit_empty))
    at_least = {
        first: rows.sizes.floor_div(rows.count, rows.value, first) if first > 1 else rows.value
        for first, _ in branches[1:]
    }
    _emit_branches(P, branches, at_least)


def _emit_branches(P, branches, at_least):
    """Tests the highest branch first: rows // first is nonzero from `first` on, as rows >= 0."""
    first, emit = branches[-1]
    if len(branches) == 1:
        emit()
    else:
        emit_if_else(P, at_least[first], emit, lambda: _emit_branches(P, branches[:-1], at_least))


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
