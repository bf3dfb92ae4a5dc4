"""Nodes that make tensors from ints and floats."""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import node


@node("FullNode")
def full(run, n):
    dtype = scalar_type(n.scalar_type, "scalar_type").mlx
    run.set(n.out, mx.full(run.integers(n.shape), run.number(n.v), dtype))


@node("FullLikeNode")
def full_like(run, n):
    x = run.tensor(n.x)
    dtype = x.dtype if n.scalar_type is None else scalar_type(n.scalar_type, "scalar_type").mlx
    run.set(n.out, mx.full(x.shape, run.number(n.v), dtype))


@node("ARangeNode")
def arange(run, n):
    start, stop, step = run.integer(n.start), run.integer(n.stop), run.integer(n.step)
    if step == 0:
        raise ProgramError("step", "not 0", 0)
    dtype = mx.int32 if n.scalar_type is None else scalar_type(n.scalar_type, "scalar_type").mlx
    run.set(n.out, mx.arange(start, stop, step, dtype=dtype))


@node("TriNode")
def tri(run, n):
    dtype = scalar_type(n.scalar_type, "scalar_type").mlx
    run.set(n.out, mx.tri(run.integer(n.n), run.integer(n.m), n.k, dtype=dtype))


@node("TrilNode")
def tril(run, n):
    run.set(n.out, mx.tril(run.tensor(n.x), n.k))


@node("TriuNode")
def triu(run, n):
    run.set(n.out, mx.triu(run.tensor(n.x), n.k))
