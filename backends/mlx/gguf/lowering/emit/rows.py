"""Sizes that are known when the program runs, and choices by the number of rows.

A choice is made at export where the number is static, else when the program runs. All linears of a
language model have the same number of rows: each size is computed once a delegate, where
ExecuTorch's own helpers would measure it, and divide it by each kernel's tile, in every linear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sympy
import torch
from executorch.backends.mlx.builder.op_helpers import emit_if_else
from executorch.backends.mlx.builder.program_builder import MLXProgramBuilder
from executorch.backends.mlx.builder.slot_manager import IdSpace, IdType, Slot
from executorch.backends.mlx.serialization.mlx_graph_schema import (
    AddIntNode,
    FloorDivideIntNode,
    IntOrVid,
    MultiplyIntNode,
    SymSizeNode,
)
from torch.fx import Node
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

from backends.mlx.common.errors import InputError

Size: TypeAlias = int | torch.SymInt


class Sizes:
    """Emits what computes a size at its first use; later uses get the same slot.

    To be called where the main chain is emitted: what a branch computes is not there for others.
    """

    def __init__(self, P: MLXProgramBuilder):
        self._P = P
        self._known: dict[Hashable, IntOrVid] = {}

    def leading(self, node: Node, slot: Slot, count: int) -> list[IntOrVid]:
        """The first `count` sizes of the tensor of `node`, which is in `slot`."""

        def measure(dim: int) -> Callable:
            tensor = self._P.slot_to_tid(slot)
            return lambda out: SymSizeNode(a=tensor, dim=dim, out=out)

        shape = node.meta["val"].shape[:count]
        return [self._value(size, measure(dim)) for dim, size in enumerate(shape)]

    def product(self, sizes: Sequence[Size], values: Sequence[IntOrVid]) -> IntOrVid:
        """The product of `sizes`, which are in `values`; 1 if there are none."""
        total: Size = 1
        result = IntOrVid.from_literal(1)
        for size, value in zip(sizes, values, strict=True):
            total = total * size
            if not result.is_vid and result.literal == 1:
                result = value
            else:
                result = self._value(
                    total, lambda out, a=result, b=value: MultiplyIntNode(a=a, b=b, out=out)
                )
        return result

    def floor_div(self, size: Size, value: IntOrVid, divisor: int) -> IntOrVid:
        """`size`, which is in `value`, divided by `divisor` and rounded down."""
        return self._value(
            size // divisor,
            lambda out: FloorDivideIntNode(a=value, b=IntOrVid.from_literal(divisor), out=out),
        )

    def ceil_div(self, size: Size, value: IntOrVid, divisor: int) -> IntOrVid:
        """`size`, which is in `value`, divided by `divisor` and rounded up."""
        if divisor == 1:
            return value
        more = self._value(
            size + (divisor - 1),
            lambda out: AddIntNode(a=value, b=IntOrVid.from_literal(divisor - 1), out=out),
        )
        return self.floor_div(size + (divisor - 1), more, divisor)

    def _value(self, size: Size, node: Callable) -> IntOrVid:
        if isinstance(size, int):
            return IntOrVid.from_literal(size)
        key = size.node.expr
        if key not in self._known:
            slot = self._lasting_slot()
            self._P.emit(node(self._P.slot_to_vid(slot)))
            self._known[key] = self._P.to_int_or_vid(slot)
        return self._known[key]

    def _lasting_slot(self) -> Slot:
        """A slot of its own: the builder's temporary ones are used again after each operator.

        Its id is new, too: ExecuTorch reads the flag that `mlx.moe_gather_inputs` computes from a
        slot that it has already returned.
        """
        manager = self._P.slot_manager
        ids = manager.vid_managers[IdSpace.Temp]
        index = ids.next_new_id
        ids.next_new_id += 1
        slot = Slot(id_type=IdType.SymInt, id_space=IdSpace.Temp, idx=index)
        manager.set_slot(f"mlx_gguf_size_{len(self._known)}", slot)
        return slot


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
    """`found`, from 1 where torch may have raised the lower bound.

    torch.export assumes that a dynamic size is neither 0 nor 1, and its decompositions drop a
    smaller minimum that the user declared (`Dim(min=1)` becomes [2, ...]). Size 1 still comes at
    run time: the decode step of a language model is M = 1. Size 0 does not: ExecuTorch's runtime
    makes no tensor without elements.
    """
    return ValueRanges(1 if found.lower <= 2 else found.lower, found.upper)


@dataclass(frozen=True)
class Rows:
    """The number of rows of an operand: as torch's size, and as the value at run time.

    Raises InputError where there are none.
    """

    sizes: Sizes
    count: Size
    value: IntOrVid

    def __post_init__(self) -> None:
        if self.count == 0:
            raise InputError("operator with a GGUF weight: expected at least one row, found none")

    def tiles(self, tile: int) -> IntOrVid:
        """How many tiles of `tile` rows hold them."""
        return self.sizes.ceil_div(self.count, self.value, tile)


def emit_by_rows(
    P: MLXProgramBuilder,
    rows: Rows,
    ranges: Sequence[tuple[Callable[[], Callable[[], None]], int, int | None]],
) -> None:
    """Emits the one of `ranges` that the number of rows falls in.

    Args:
        ranges: (prepare, first, last), ascending from 1 and without gaps; last None: no end.
            `prepare` emits what a choice needs computed, and returns what emits the choice
            itself. Ranges outside the bounds of `rows` are not prepared.
    """
    limits = bounds([rows.count])
    branches = [(first, prepare()) for prepare, first, last in ranges if limits.meet(first, last)]
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
