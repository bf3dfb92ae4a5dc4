"""Sizes that are known when the program runs, each computed once a delegate.

All linears of a language model have the same number of rows. ExecuTorch's own helpers would
measure it, and divide it by each kernel's tile, in every one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
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

Size = int | torch.SymInt


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
