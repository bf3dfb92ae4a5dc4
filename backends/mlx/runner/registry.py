"""Where the node functions are registered: one function per kind of MLX node.

A function takes the interpreter and the node's record; it reads its operands' slots, computes
with `mlx.core` what ExecuTorch's `MLXInterpreter` computes, and writes its output slots.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import mlx.core as mx

from backends.mlx.program.errors import ProgramError

FUNCTIONS: dict[str, Callable] = {}


def node(name: str) -> Callable[[Callable], Callable]:
    """Registers the decorated function for nodes called `name`."""

    def register(function: Callable) -> Callable:
        if name in FUNCTIONS:
            raise ValueError(f"{name} has two functions")
        FUNCTIONS[name] = function
        return function

    return register


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from 0. Raises ProgramError where a tensor of `rank` has no such axis."""
    if not -rank <= axis < rank:
        raise ProgramError("axis", f"-{rank} to {rank - 1}", axis)
    return axis % rank


# The largest tensor that ExecuTorch's runtime makes from sizes of the program.
_MAX_ALLOCATION_BYTES = 4 * 1024**3


def check_allocation(shape: list[int], dtype: mx.Dtype) -> list[int]:
    """`shape`. Raises ProgramError for one that ExecuTorch's `check_allocation_bounded` refuses."""
    if any(size < 1 for size in shape):
        raise ProgramError("result shape", "sizes of 1 or more", shape)
    size = prod(shape) * dtype.size
    if size > _MAX_ALLOCATION_BYTES:
        raise ProgramError("result bytes", f"at most {_MAX_ALLOCATION_BYTES}", size)
    return shape
