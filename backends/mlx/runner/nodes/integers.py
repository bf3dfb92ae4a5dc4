"""Nodes that compute 32-bit ints on the host: sizes, grid sizes, offsets.

Division and modulo are Python's: the quotient is floored, the remainder has the divisor's sign.
"""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import axis_of, node

# Of narrower types C++ would read what lies behind the item.
_WHOLE_INTS = (mx.int32, mx.uint32, mx.int64, mx.uint64)


@node("AddIntNode")
def add_int(run, n):
    run.set_int(n.out, run.integer(n.a) + run.integer(n.b))


@node("SubtractIntNode")
def subtract_int(run, n):
    run.set_int(n.out, run.integer(n.a) - run.integer(n.b))


@node("MultiplyIntNode")
def multiply_int(run, n):
    run.set_int(n.out, run.integer(n.a) * run.integer(n.b))


@node("FloorDivideIntNode")
def floor_divide_int(run, n):
    run.set_int(n.out, run.integer(n.a) // _divisor(run, n))


@node("ModIntNode")
def mod_int(run, n):
    run.set_int(n.out, run.integer(n.a) % _divisor(run, n))


def _divisor(run, n) -> int:
    divisor = run.integer(n.b)
    if divisor == 0:
        raise ProgramError("divisor", "not 0", 0)
    return divisor


@node("SymSizeNode")
def sym_size(run, n):
    shape = run.tensor(n.a).shape
    run.set_int(n.out, shape[axis_of(n.dim, len(shape))])


@node("ItemIntNode")
def item_int(run, n):
    """The low 32 bits of the item, as C++ reads them."""
    x = run.tensor(n.x)
    if x.dtype not in _WHOLE_INTS:
        raise ProgramError("dtype", "integers of 32 or 64 bits", x.dtype)
    if x.size != 1:
        raise ProgramError("elements", 1, x.size)
    low = int(x.item()) & 0xFFFFFFFF
    run.set_int(n.out, low - (low >> 31 << 32))
