"""Nodes that make tensors from ints and floats.

Sizes are checked as ExecuTorch's C++ does (`check_allocation_bounded`): no dimension of 0, at most
4 GiB.
"""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import check_allocation, node


@node("FullNode")
def full(run, n):
    dtype = scalar_type(n.scalar_type, "scalar_type").mlx
    shape = check_allocation(run.integers(n.shape), dtype)
    run.set(n.out, mx.full(shape, _float(run, n.v), dtype))


@node("FullLikeNode")
def full_like(run, n):
    x = run.tensor(n.x)
    dtype = x.dtype if n.scalar_type is None else scalar_type(n.scalar_type, "scalar_type").mlx
    run.set(n.out, mx.full(x.shape, _float(run, n.v), dtype))


def _float(run, value) -> mx.array:
    """The value as C++ has it, a float; from a Python number MLX makes float32 of any integer."""
    return mx.array(run.number(value), mx.float32)


@node("ARangeNode")
def arange(run, n):
    start, stop, step = run.integer(n.start), run.integer(n.stop), run.integer(n.step)
    if step == 0:
        raise ProgramError("step", "not 0", 0)
    dtype = mx.int32 if n.scalar_type is None else scalar_type(n.scalar_type, "scalar_type").mlx
    check_allocation([len(range(start, stop, step))], dtype)
    run.set(n.out, mx.arange(start, stop, step, dtype=dtype))


@node("TriNode")
def tri(run, n):
    dtype = scalar_type(n.scalar_type, "scalar_type").mlx
    rows, columns = check_allocation([run.integer(n.n), run.integer(n.m)], dtype)
    run.set(n.out, mx.tri(rows, columns, n.k, dtype=dtype))


@node("TrilNode")
def tril(run, n):
    run.set(n.out, mx.tril(run.tensor(n.x), n.k))


@node("TriuNode")
def triu(run, n):
    run.set(n.out, mx.triu(run.tensor(n.x), n.k))
