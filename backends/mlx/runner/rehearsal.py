"""A run of a graph for the sake of its kernels: all branches are taken, no kernel is run.

A kernel's text depends on the dtypes of its operands, which a program does not state for its
temporaries, and on which of them have fewer than `metal.CONSTANT_BELOW` elements. Running the
other nodes on zeros finds out, with few rows and with enough of them.
"""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.graph import TENSOR_SLOT


def units(interpreter) -> list:
    """The `backends.mlx.metal.Unit` of every kernel that the main chain may reach.

    Those of inputs whose dynamic dimensions are all 1, and all `metal.CONSTANT_BELOW`; a kernel
    that only sizes between them reach is compiled when it is called.

    The interpreter's mutable buffers keep their contents. Raises ProgramError where the graph
    cannot run on zeros.
    """
    # Imported here: programs without custom kernels need no Metal runtime.
    from backends.mlx import metal

    record = interpreter.graph.record
    with interpreter.rehearsing() as found:
        for size in (1, metal.CONSTANT_BELOW):
            interpreter(
                [
                    _zeros(interpreter.graph.meta(slot.idx), size)
                    if slot.slot_type == TENSOR_SLOT
                    else 0
                    for slot in record.input_map
                ]
            )
    return found


def _zeros(meta, size: int) -> mx.array:
    """An input of zeros whose dynamic dimensions are `size`, or as many as they may be."""
    shape = [_fitting(dim, size) for dim in meta.shape]
    return mx.zeros(shape, scalar_type(meta.scalar_type, "input").mlx)


def _fitting(dim, size: int) -> int:
    if dim.value >= 0:
        return dim.value
    # Also where a dimension may be 0: one of it is the least that does work.
    return size if dim.max_value < 0 else max(1, min(size, dim.max_value))
