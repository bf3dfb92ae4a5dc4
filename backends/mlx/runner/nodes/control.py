"""Nodes that run other instruction chains."""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.runner.nodes.registry import axis_of, node


@node("NoopNode")
def noop(run, n):
    pass


@node("IfNode")
def if_(run, n):
    run.run_chain(n.then_chain_idx if run.integer(n.cond) != 0 else n.else_chain_idx)


@node("ScanNode")
def scan(run, n):
    first = run.tensor(n.originals[0])
    axis = axis_of(n.scan_axis, first.ndim)
    steps = []
    for step in range(first.shape[axis]):
        for original, slot in zip(n.originals, n.sliced, strict=True):
            run.set(slot, mx.take(run.tensor(original), step, axis=axis))
        run.run_chain(n.body_chain_idx)
        steps.append([run.tensor(slot) for slot in n.outputs])
    for slot, arrays in zip(n.outputs, zip(*steps, strict=True), strict=True):
        run.set(slot, mx.stack(arrays, axis=axis))
