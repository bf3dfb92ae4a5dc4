"""Nodes that change shape, order or layout, against numpy."""

import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.program.testing import mlx_schema
from backends.mlx.runner.testing import check, literal, reals, run, several

SHAPES = [
    ("ReshapeNode", dict(shape=[literal(3), literal(-1)]), lambda x: x.reshape(3, 8)),
    ("TransposeNode", dict(perm=[2, 0, 1]), lambda x: x.transpose(2, 0, 1)),
    ("ExpandDimsNode", dict(axis=-1), lambda x: x[..., None]),
    ("TileNode", dict(reps=[literal(2), literal(1), literal(3)]), lambda x: np.tile(x, (2, 1, 3))),
    ("RepeatNode", dict(repeats=literal(2), axis=1), lambda x: np.repeat(x, 2, 1)),
    (
        "BroadcastToNode",
        dict(shape=[literal(5), literal(-1), literal(3), literal(-1)]),
        lambda x: np.broadcast_to(x, (5, 2, 3, 4)),
    ),
    ("SqueezeNode", dict(dims=[0, 1]), lambda x: x),
    ("FlipNode", dict(axes=[0, -1]), lambda x: x[::-1, :, ::-1]),
    ("RollNode", dict(shift=[literal(1)], axes=[2]), lambda x: np.roll(x, 1, 2)),
    (
        "PadNode",
        dict(pad_width=[literal(i) for i in (0, 0, 1, 2, 0, 1)], mode="constant",
             constant_value=7.0),
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=7),
    ),
    (
        "PadNode",
        dict(pad_width=[literal(i) for i in (0, 0, 1, 2, 0, 1)], mode="edge"),
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 1)), mode="edge"),
    ),
    (
        "AsStridedNode",
        dict(shape=[literal(3), literal(2)], strides=[literal(4), literal(2)], offset=5),
        lambda x: np.array([[5, 7], [9, 11], [13, 15]], np.float32),
    ),
    ("TrilNode", dict(k=1), lambda x: np.tril(x, 1)),
    ("TriuNode", dict(k=1), lambda x: np.triu(x, 1)),
    ("SliceNode", dict(axis=literal(-1), start=literal(-3), stop=literal(2**62)),
     lambda x: x[..., -3:]),
    ("SliceNode", dict(axis=literal(1), start=literal(0), stop=literal(3), step=2),
     lambda x: x[:, 0:3:2]),
    ("SliceNode", dict(axis=literal(1), start=literal(1), stop=literal(3), step=2**31 - 1),
     lambda x: x[:, 1:2]),
    ("FullLikeNode", dict(v=mlx_schema.FloatOrVid.from_literal(2.5)),
     lambda x: np.full_like(x, 2.5)),
]  # fmt: skip


@pytest.mark.parametrize("name, fields, function", SHAPES, ids=[name for name, _, _ in SHAPES])
def test_shapes(tmp_path, name, fields, function):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    check(tmp_path, name, {"x": x}, function(x), **fields)


def test_squeeze_of_all_axes(tmp_path):
    x = reals(1, 3, 1)
    check(tmp_path, "SqueezeNode", {"x": x}, x[0, :, 0], dims=[])
    check(tmp_path, "SqueezeNode", {"x": x}, x[0], dims=[0, 1])


def test_roll_has_a_shift_for_each_axis(tmp_path):
    x = reals(2, 3)
    with pytest.raises(ProgramError, match="shift: expected one for each of 1 axes, found 2"):
        run(tmp_path, "RollNode", {"x": x}, x, shift=[literal(1), literal(2)], axes=[0])


def test_as_strided_stays_inside_its_source(tmp_path):
    x = reals(2, 3)
    fields = dict(shape=[literal(2), literal(3)], strides=[literal(3), literal(1)], offset=1)
    with pytest.raises(ProgramError, match="strided view: expected elements below 6, found 6"):
        run(tmp_path, "AsStridedNode", {"x": x}, x, **fields)


def test_lists_of_tensors(tmp_path):
    a, b = reals(2, 3), reals(2, 3)
    for name, function in (("ConcatenateNode", np.concatenate), ("StackNode", np.stack)):
        (joined,) = several(
            tmp_path,
            lambda ins, outs, name=name: getattr(mlx_schema, name)(
                tensors=ins, out=outs[0], axis=1
            ),
            [a, b],
            [function([a, b], axis=1)],
        )
        np.testing.assert_array_equal(joined, function([a, b], axis=1))


@pytest.mark.parametrize("sizes", [[], [0], [-1, 8], [3, 3], [3, 5], [2**31 - 1, 1]])
def test_split_that_does_not_fit(tmp_path, sizes):
    x = reals(2, 7)

    def node(ins, outs):
        sizes_ = [literal(size) for size in sizes]
        return mlx_schema.SplitNode(x=ins[0], outs=outs, sizes=sizes_, axis=-1)

    with pytest.raises(ProgramError, match="split sizes: expected"):
        several(tmp_path, node, [x], [x[:, :3], x[:, 3:]])


@pytest.mark.parametrize("sizes, ends", [([3], [3, 6]), ([1, 4, 2], [1, 5])])
def test_split(tmp_path, sizes, ends):
    x = reals(2, 7)
    expected = np.split(x, ends, axis=1)
    parts = several(
        tmp_path,
        lambda ins, outs: mlx_schema.SplitNode(
            x=ins[0], outs=outs, sizes=[literal(size) for size in sizes], axis=-1
        ),
        [x],
        expected,
    )
    for part, want in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(part, want)
