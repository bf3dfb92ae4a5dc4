"""A run of a graph for the sake of its kernels: all branches are taken, no kernel is run.

A kernel's text depends on the dtypes of its operands, which a program does not state for its
temporaries; running the other nodes on zeros finds them.
"""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.graph import TENSOR_SLOT


def units(interpreter) -> list:
    """The `backends.mlx.metal.Unit` of every kernel that the main chain may reach; none on a Mac.

    The interpreter's mutable buffers keep their contents. Raises ProgramError where the graph
    cannot run on inputs of zeros of the least size.
    """
    with interpreter.rehearsing() as found:
        record = interpreter.graph.record
        interpreter(
            [
                _zeros(interpreter.graph.meta(slot.idx)) if slot.slot_type == TENSOR_SLOT else 0
                for slot in record.input_map
            ]
        )
    return found


def _zeros(meta) -> mx.array:
    # A dimension may be bounded from below by 0 or 1: one of each is the least that does work.
    shape = [dim.value if dim.value >= 0 else 1 for dim in meta.shape]
    return mx.zeros(shape, scalar_type(meta.scalar_type, "input").mlx)
