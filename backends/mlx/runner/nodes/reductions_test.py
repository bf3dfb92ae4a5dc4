"""Reductions, scans and sorts, against numpy."""

import numpy as np
import pytest

from backends.mlx.runner.testing import check, literal, reals, run


@pytest.mark.parametrize(
    "name, function",
    [
        ("SumNode", np.sum),
        ("MeanNode", np.mean),
        ("ProdNode", np.prod),
        ("MaxNode", np.max),
        ("MinNode", np.min),
        ("MedianNode", np.median),
    ],
)
@pytest.mark.parametrize("axes, keepdims", [([], False), ([1], True), ([0, -1], False)])
def test_reductions(tmp_path, name, function, axes, keepdims):
    x = reals(3, 4, 5)
    expected = np.float32(function(x, axis=tuple(axes) or None, keepdims=keepdims))
    check(tmp_path, name, {"x": x}, expected, axes=axes, keepdims=keepdims)


@pytest.mark.parametrize("axes, keepdims", [([], True), ([1], True), ([0, -1], False)])
def test_logsumexp(tmp_path, axes, keepdims):
    """An empty list reduces nothing."""
    x = reals(3, 4, 5)
    sums = np.exp(x).sum(tuple(axes), keepdims=keepdims) if axes else np.exp(x)
    check(tmp_path, "LogSumExpNode", {"x": x}, np.log(sums), axes=axes, keepdims=keepdims)


def test_spreads_and_arguments(tmp_path):
    x = reals(3, 7)
    for name, function in (("VarNode", np.var), ("StdNode", np.std)):
        check(tmp_path, name, {"x": x}, function(x, axis=1, ddof=1), axes=[1], ddof=1)
    for name, function in (("ArgmaxNode", np.argmax), ("ArgminNode", np.argmin)):
        check(tmp_path, name, {"x": x}, function(x, axis=1).astype(np.uint32), axis=1)
    for name, function in (("AnyNode", np.any), ("AllNode", np.all)):
        check(tmp_path, name, {"x": x > 0}, function(x > 0, axis=0), axes=[0])
    check(tmp_path, "SortNode", {"x": x}, np.sort(x, axis=1), axis=1)
    check(tmp_path, "ArgsortNode", {"x": x}, np.argsort(x, axis=1).astype(np.uint32), axis=1)
    check(tmp_path, "CumsumNode", {"x": x}, np.cumsum(x, axis=1), axis=1)
    middle = run(tmp_path, "PartitionNode", {"x": x}, x, kth=literal(3), axis=1)[:, 3]
    np.testing.assert_array_equal(middle, np.sort(x, axis=1)[:, 3])
    chosen = run(
        tmp_path, "ArgPartitionNode", {"x": x}, x.astype(np.uint32), kth=literal(3), axis=1
    )
    np.testing.assert_array_equal(x[np.arange(3), chosen[:, 3]], np.sort(x, axis=1)[:, 3])
