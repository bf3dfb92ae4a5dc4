"""Nodes that run other instruction chains."""

from __future__ import annotations

import logging

import mlx.core as mx

from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import axis_of, node

_LOG = logging.getLogger(__name__)


@node("NoopNode")
def noop(run, n):
    pass


@node("IfNode")
def if_(run, n):
    condition = run.integer(n.cond) != 0
    if run.rehearsal is not None:
        _rehearse(run, n.else_chain_idx if condition else n.then_chain_idx)
    run.run_chain(n.then_chain_idx if condition else n.else_chain_idx)


def _rehearse(run, chain: int) -> None:
    """The branch not taken, before the other, so that what follows reads what that one wrote."""
    try:
        run.run_chain(chain)
    except ProgramError as error:
        # A run on these inputs would not come here; its kernels are built when one does.
        _LOG.debug("not rehearsed: %s", error)


@node("ScanNode")
def scan(run, n):
    originals = [run.tensor(slot) for slot in n.originals]
    axes = [axis_of(n.scan_axis, original.ndim) for original in originals]
    lengths = [original.shape[axis] for original, axis in zip(originals, axes, strict=True)]
    if len(set(lengths)) > 1:
        raise ProgramError("scan steps", "as many of each original", lengths)
    if lengths[0] == 0:
        raise ProgramError("scan steps", "1 or more", 0)
    steps = []
    for step in range(lengths[0]):
        for original, axis, slot in zip(originals, axes, n.sliced, strict=True):
            run.set(slot, mx.take(original, step, axis=axis))
        run.run_chain(n.body_chain_idx)
        steps.append([run.tensor(slot) for slot in n.outputs])
    for slot, arrays in zip(n.outputs, zip(*steps, strict=True), strict=True):
        run.set(slot, mx.stack(arrays, axis=axes[0]))
