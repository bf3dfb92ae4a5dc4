"""Nodes that make tensors."""

import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.program.testing import CODES, mlx_schema
from backends.mlx.runner.testing import check, literal, reals

real = mlx_schema.FloatOrVid.from_literal


def test_creation(tmp_path):
    full = dict(shape=[literal(2), literal(3)], v=real(1.5))
    check(tmp_path, "FullNode", {}, np.full((2, 3), 1.5, np.float16), **full, scalar_type=5)
    steps = dict(start=literal(5), stop=literal(-4), step=literal(-3))
    check(tmp_path, "ARangeNode", {}, np.arange(5, -4, -3, np.int64), **steps, scalar_type=4)
    tri = dict(n=literal(3), m=literal(4), k=-1, scalar_type=6)
    check(tmp_path, "TriNode", {}, np.tri(3, 4, -1, np.float32), **tri)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_, np.float16, np.float32])
def test_filled_with_any_type(tmp_path, dtype):
    """The value is a float, cast to the type."""
    code = CODES[np.dtype(dtype)]
    expected = np.full((2, 3), 2.75, np.float32).astype(dtype)
    shape = [literal(2), literal(3)]
    check(tmp_path, "FullNode", {}, expected, shape=shape, v=real(2.75), scalar_type=code)
    like = {"x": reals(2, 3)}
    check(tmp_path, "FullLikeNode", like, expected, v=real(2.75), scalar_type=code)
    like = {"x": reals(2, 3).astype(dtype)}
    check(tmp_path, "FullLikeNode", like, expected, v=real(2.75), scalar_type=None)


FULL = dict(v=real(0.0), scalar_type=6)
RANGE = dict(start=literal(0), step=literal(1), scalar_type=None)
EMPTY = "result shape: expected sizes of 1 or more, found"
LARGE = "result bytes: expected at most 4294967296, found 4294967300"


@pytest.mark.parametrize(
    "name, inputs, fields, message",
    [
        ("FullNode", {}, dict(shape=[literal(2), literal(0)], **FULL), EMPTY),
        ("FullNode", {}, dict(shape=[literal(2**30 + 1)], **FULL), LARGE),
        ("ARangeNode", {}, dict(stop=literal(0), **RANGE), EMPTY),
        ("ARangeNode", {}, dict(stop=literal(2**30 + 1), **RANGE), LARGE),
        ("TriNode", {}, dict(n=literal(0), m=literal(1), k=0, scalar_type=6), EMPTY),
        ("RepeatNode", {"x": reals(1, 5)}, dict(repeats=literal(2**28), axis=0), "result bytes"),
        ("RepeatNode", {"x": reals(0, 5)}, dict(repeats=literal(2), axis=0), EMPTY),
    ],
)
def test_sizes_that_cpp_refuses(tmp_path, name, inputs, fields, message):
    with pytest.raises(ProgramError, match=message):
        check(tmp_path, name, inputs, np.zeros(1, np.float32), **fields)
