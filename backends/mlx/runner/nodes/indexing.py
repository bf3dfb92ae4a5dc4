"""Nodes that read or write parts of a tensor.

MLX does not check tensors of indices; a CPU would read outside the buffer. Here an index outside
its axis is an error, which a GPU run does not report.
"""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import axis_of, node


@node("TakeNode")
def take(run, n):
    x = run.tensor(n.x)
    axis = axis_of(n.axis, x.ndim)
    index = run.int_or_tensor(n.index)
    if isinstance(index, mx.array):
        _check_indices(index, x.shape[axis])
    else:
        _check_index(index, index, x.shape[axis])
        index %= x.shape[axis]
    run.set(n.out, mx.take(x, index, axis=axis))


@node("TakeAlongAxisNode")
def take_along_axis(run, n):
    x, indices = run.tensor(n.x), run.tensor(n.indices)
    _check_indices(indices, x.shape[axis_of(n.axis, x.ndim)])
    run.set(n.out, mx.take_along_axis(x, indices, axis=n.axis))


@node("GatherNode")
def gather(run, n):
    """Slices of x that start at index tuples; each indexed axis contributes one element.

    MLX's C++ gather takes any slice size and has no Python face; ExecuTorch emits only slices
    that are 1 long on indexed axes and whole elsewhere, which is advanced indexing.
    """
    x = run.tensor(n.x)
    if len(n.indices) != len(n.axes):
        raise ProgramError("indices", f"{len(n.axes)} tensors", len(n.indices))
    expected = [1 if axis in n.axes else dim for axis, dim in enumerate(x.shape)]
    if list(n.slice_sizes) != expected:
        raise ProgramError("slice_sizes", expected, list(n.slice_sizes))
    indices = mx.broadcast_arrays(*(run.tensor(slot) for slot in n.indices))
    for axis, index in zip(n.axes, indices, strict=True):
        _check_indices(index, x.shape[axis_of(axis, x.ndim)])
    # Index axes go in front, then x's axes with 1 for the indexed ones.
    order = [*n.axes, *(axis for axis in range(x.ndim) if axis not in n.axes)]
    rows = mx.transpose(x, order)[tuple(indices)]
    run.set(n.out, mx.reshape(rows, [*indices[0].shape, *n.slice_sizes]))


@node("ScatterAddNode")
def scatter_add(run, n):
    """Sizes broadcast as in MLX's C++ `scatter_add_axis`, which has no Python face."""
    x, indices, updates = run.tensor(n.x), run.tensor(n.indices), run.tensor(n.updates)
    axis = axis_of(n.axis, x.ndim)
    if indices.ndim != x.ndim:
        raise ProgramError("indices rank", x.ndim, indices.ndim)
    _check_indices(indices, x.shape[axis])
    while updates.ndim > indices.ndim:
        updates = mx.squeeze(updates, 0)
    indices, updates = mx.broadcast_arrays(indices, updates)
    # All but the axis: there, x and the indices have lengths of their own.
    one = [1 if at == axis else size for at, size in enumerate(x.shape)]
    other = [1 if at == axis else size for at, size in enumerate(indices.shape)]
    common = list(mx.broadcast_shapes(one, other))

    def whole(array: mx.array) -> mx.array:
        return mx.broadcast_to(array, [*common[:axis], array.shape[axis], *common[axis + 1 :]])

    x, indices, updates = whole(x), whole(indices), whole(updates)
    grid = list(mx.meshgrid(*(mx.arange(dim) for dim in indices.shape), indexing="ij"))
    grid[axis] = indices
    run.set(n.out, x.at[tuple(grid)].add(updates.astype(x.dtype)))


@node("SliceNode")
def slice_(run, n):
    x = run.tensor(n.x)
    if n.step == 0:
        raise ProgramError("step", "not 0", 0)
    axis = axis_of(run.integer(n.axis), x.ndim)
    # A longer step takes no other elements, and MLX's count of them would overflow.
    longest = max(1, x.shape[axis])
    step = max(-longest, min(n.step, longest))
    window = slice(run.integer(n.start), run.integer(n.stop), step)
    run.set(n.out, x[_window(x.ndim, axis, window)])


@node("SliceUpdateNode")
def slice_update(run, n):
    target, update = run.tensor(n.dst), run.tensor(n.update)
    if n.step < 1:
        raise ProgramError("step", "1 or more", n.step)
    axis = axis_of(run.integer(n.axis), target.ndim)
    window = slice(run.integer(n.start), run.integer(n.stop))
    start, stop, _ = window.indices(target.shape[axis])
    if start != stop:
        step = min(n.step, target.shape[axis])
        target = _updated(target, _window(target.ndim, axis, slice(start, stop, step)), update)
    run.set(n.out, target)


@node("IndexCopyNode")
def index_copy(run, n):
    target, update, indices = run.tensor(n.dst), run.tensor(n.update), run.tensor(n.indices)
    if indices.ndim != 1 or indices.dtype != mx.int64:
        raise ProgramError("indices", "int64 of rank 1", f"{indices.dtype}, rank {indices.ndim}")
    axis = axis_of(n.axis, target.ndim)
    _check_indices(indices, target.shape[axis])
    if indices.size:
        target = _updated(target, _window(target.ndim, axis, indices), update)
    run.set(n.out, target)


def _updated(target: mx.array, index: tuple, update: mx.array) -> mx.array:
    copy = mx.array(target)
    copy[index] = update
    return copy


def _window(rank: int, axis: int, index) -> tuple:
    """The subscript that applies `index` to `axis` and keeps the other axes whole."""
    return tuple(index if at == axis else slice(None) for at in range(rank))


def _check_indices(indices: mx.array, length: int) -> None:
    if indices.size:
        _check_index(indices.min().item(), indices.max().item(), length)


def _check_index(low: int, high: int, length: int) -> None:
    if low < -length or high >= length:
        found = low if low < -length else high
        raise ProgramError("index", f"{-length} to {length - 1}", found)
