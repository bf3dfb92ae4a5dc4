"""Nodes that change a tensor's shape, order or layout."""

from __future__ import annotations

from itertools import accumulate

import mlx.core as mx

from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import axis_of, check_allocation, node


@node("ReshapeNode")
def reshape(run, n):
    run.set(n.out, mx.reshape(run.tensor(n.x), run.integers(n.shape)))


@node("TransposeNode")
def transpose(run, n):
    run.set(n.out, mx.transpose(run.tensor(n.x), n.perm))


@node("ContiguousNode")
def contiguous(run, n):
    run.set(n.out, mx.contiguous(run.tensor(n.x)))


@node("AsStridedNode")
def as_strided(run, n):
    x = run.tensor(n.x)
    shape, strides = run.integers(n.shape), run.integers(n.strides)
    # MLX does not check that the view stays inside its source.
    last = n.offset + sum(max(dim - 1, 0) * step for dim, step in zip(shape, strides, strict=True))
    if min(strides, default=0) < 0 or last >= x.size > 0:
        raise ProgramError("strided view", f"elements below {x.size}", last)
    run.set(n.out, mx.as_strided(x, shape, strides, n.offset))


@node("ExpandDimsNode")
def expand_dims(run, n):
    run.set(n.out, mx.expand_dims(run.tensor(n.x), n.axis))


@node("SqueezeNode")
def squeeze(run, n):
    x = run.tensor(n.x)
    if not n.dims:
        run.set(n.out, mx.squeeze(x))
        return
    # As in PyTorch, an axis that is not 1 long stays.
    axes = [axis for axis in n.dims if -x.ndim <= axis < x.ndim and x.shape[axis] == 1]
    run.set(n.out, mx.squeeze(x, axes) if axes else x)


@node("BroadcastToNode")
def broadcast_to(run, n):
    x = run.tensor(n.x)
    shape = run.integers(n.shape)
    added = len(shape) - x.ndim
    # -1 keeps the input's dimension; dimensions align from the right.
    kept = [
        x.shape[axis - added] if dim == -1 and axis >= added else dim
        for axis, dim in enumerate(shape)
    ]
    run.set(n.out, mx.broadcast_to(x, kept))


@node("TileNode")
def tile(run, n):
    run.set(n.out, mx.tile(run.tensor(n.x), run.integers(n.reps)))


@node("RepeatNode")
def repeat(run, n):
    repeats = run.integer(n.repeats)
    if repeats <= 0:
        raise ProgramError("repeats", "1 or more", repeats)
    x = run.tensor(n.x)
    shape = list(x.shape)
    shape[axis_of(n.axis, x.ndim)] *= repeats
    check_allocation(shape, x.dtype)
    run.set(n.out, mx.repeat(x, repeats, axis=n.axis))


@node("ConcatenateNode")
def concatenate(run, n):
    run.set(n.out, mx.concatenate([run.tensor(slot) for slot in n.tensors], axis=n.axis))


@node("StackNode")
def stack(run, n):
    run.set(n.out, mx.stack([run.tensor(slot) for slot in n.tensors], axis=n.axis))


@node("SplitNode")
def split(run, n):
    x = run.tensor(n.x)
    axis = axis_of(n.axis, x.ndim)
    sizes = run.integers(n.sizes)
    if any(size < 0 for size in sizes) or sizes in ([], [0]):
        raise ProgramError("split sizes", "0 or more, a chunk size 1 or more", sizes)
    if len(sizes) == 1:
        # One size is the size of every chunk but perhaps the last.
        ends = list(range(sizes[0], x.shape[axis], sizes[0]))
    else:
        *ends, end = accumulate(sizes)
        if end != x.shape[axis]:
            raise ProgramError("split sizes", f"{x.shape[axis]} together", sizes)
    parts = mx.split(x, ends, axis=axis)
    if len(parts) != len(n.outs):
        raise ProgramError("split parts", len(n.outs), len(parts))
    for slot, part in zip(n.outs, parts, strict=True):
        run.set(slot, part)


@node("PadNode")
def pad(run, n):
    widths = run.integers(n.pad_width)
    if len(widths) % 2:
        raise ProgramError("pad_width", "pairs", f"{len(widths)} entries")
    if n.mode not in ("constant", "edge"):
        raise ProgramError("pad mode", "'constant' or 'edge'", repr(n.mode))
    x = run.tensor(n.x)
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    # MLX casts the value to x's dtype; edge mode ignores it.
    run.set(n.out, mx.pad(x, pairs, mode=n.mode, constant_values=n.constant_value))


@node("RollNode")
def roll(run, n):
    shift = run.integers(n.shift)
    if len(shift) != len(n.axes):
        # MLX takes no notice of the rest.
        raise ProgramError("shift", f"one for each of {len(n.axes)} axes", len(shift))
    run.set(n.out, mx.roll(run.tensor(n.x), shift, n.axes))


@node("FlipNode")
def flip(run, n):
    x = run.tensor(n.x)
    index = [slice(None)] * x.ndim
    for axis in n.axes:
        index[axis_of(axis, x.ndim)] = slice(None, None, -1)
    run.set(n.out, x[tuple(index)])
