"""Nodes that read or write parts of a tensor, against numpy."""

import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.program.testing import GraphFile, mlx_schema
from backends.mlx.runner import Runner
from backends.mlx.runner.testing import check, literal, reals, several


def test_indexing(tmp_path):
    x = reals(4, 5)
    rows = np.array([[3, 0], [-1, 2]], np.int32)
    operand = mlx_schema.IntOrVidOrTid
    index = operand.from_tid(mlx_schema.Tid(1))
    expected = x[rows]
    file = GraphFile(inputs=[x, rows], outputs=[expected])
    file.chains[0].append(
        mlx_schema.TakeNode(x=file.input(0), out=file.output(0), index=index, axis=0)
    )
    runner = Runner(file.write(tmp_path / "a.pte"))
    np.testing.assert_array_equal(np.array(runner(x, rows)[0]), expected)
    for bad in (4, -5):
        with pytest.raises(ProgramError, match=f"TakeNode: index: expected -4 to 3, found {bad}"):
            runner(x, np.full_like(rows, bad))
    check(tmp_path, "TakeNode", {"x": x}, x[:, -2], index=operand.from_literal(-2), axis=1)
    columns = np.array([[4, 0], [1, 1], [-1, 2], [3, 3]], np.int64)
    along = np.take_along_axis(x, columns, 1)
    check(tmp_path, "TakeAlongAxisNode", {"x": x, "indices": columns}, along, axis=1)


def test_gather_of_two_axes(tmp_path):
    x = reals(4, 5, 6)
    i, j = np.array([3, 0, 1], np.int64), np.array([5, -1, 2], np.int64)
    expected = x[i, :, j][:, None, :, None]
    (rows,) = several(
        tmp_path,
        lambda ins, outs: mlx_schema.GatherNode(
            x=ins[0], indices=ins[1:], out=outs[0], axes=[0, 2], slice_sizes=[1, 5, 1]
        ),
        [x, i, j],
        [expected],
    )
    np.testing.assert_array_equal(rows, expected)


def test_scatter_add_accumulates(tmp_path):
    x, updates = reals(4, 3), reals(5, 3)
    indices = np.array([[0, 3, 1], [0, 3, 1], [1, 0, 2], [-1, 0, 0], [2, 2, 2]], np.int64)
    expected = x.copy()
    np.add.at(expected, (indices, np.arange(3)), updates)
    operands = {"x": x, "indices": indices, "updates": updates}
    check(tmp_path, "ScatterAddNode", operands, expected, axis=0)


def test_scatter_add_broadcasts_all_but_the_axis(tmp_path):
    x, updates = reals(4, 3), reals(1, 1, 3)
    indices = np.array([[2], [2]], np.int64)
    expected = x.copy()
    expected[2] += 2 * updates[0, 0]
    operands = {"x": x, "indices": indices, "updates": updates}
    check(tmp_path, "ScatterAddNode", operands, expected, axis=0)


@pytest.mark.parametrize(
    "indices, updates, message",
    [
        ((3, 3), (4, 3), "operands that MLX accepts"),
        ((3, 2), (3, 2), "operands that MLX accepts"),
        ((3,), (3,), "indices rank: expected 2, found 1"),
    ],
)
def test_scatter_add_of_sizes_that_do_not_fit(tmp_path, indices, updates, message):
    x = reals(4, 3)
    operands = {"x": x, "indices": np.zeros(indices, np.int64), "updates": reals(*updates)}
    with pytest.raises(ProgramError, match=message):
        check(tmp_path, "ScatterAddNode", operands, x, axis=0)


def test_slice_update(tmp_path):
    target, update = reals(2, 6), reals(2, 2)
    expected = target.copy()
    expected[:, 1:5:2] = update
    fields = dict(axis=literal(-1), start=literal(-5), stop=literal(5), step=2)
    check(tmp_path, "SliceUpdateNode", {"dst": target, "update": update}, expected, **fields)
    empty = dict(axis=literal(1), start=literal(9), stop=literal(9))
    check(tmp_path, "SliceUpdateNode", {"dst": target, "update": update}, target, **empty)


def test_index_copy_into_a_mutable_buffer(tmp_path):
    buffer, update = np.zeros((5, 3), np.float32), reals(2, 3)
    positions = np.array([4, -4], np.int64)
    file = GraphFile(inputs=[update, positions], outputs=[buffer], mutable=[buffer])
    file.chains[0] += [
        mlx_schema.IndexCopyNode(
            dst=file.buffer(0),
            update=file.input(0),
            indices=file.input(1),
            out=file.buffer(0),
            axis=0,
        ),
        mlx_schema.IdCopyNode(x=file.buffer(0), out=file.output(0)),
    ]
    runner = Runner(file.write(tmp_path / "a.pte"))
    expected = buffer.copy()
    for where in (positions, np.array([0, 1], np.int64)):
        expected[where] = update
        np.testing.assert_array_equal(np.array(runner(update, where)[0]), expected)
    runner.reset()
    expected[:] = 0
    expected[positions] = update
    np.testing.assert_array_equal(np.array(runner(update, positions)[0]), expected)
    with pytest.raises(ProgramError, match="index: expected -5 to 4, found 5"):
        runner(update, np.array([0, 5], np.int64))
