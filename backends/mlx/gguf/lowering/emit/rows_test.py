"""Bounds of the number of rows."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from backends.mlx.gguf.lowering.emit import rows


@pytest.mark.parametrize("sizes, product", [((), 1), ((3,), 3), ((2, 0, 5), 0), ((2, 3), 6)])
def test_static(sizes, product):
    assert rows.bounds(sizes) == rows.Bounds(product, product)


@pytest.mark.parametrize(
    "dims, lower, upper",
    [
        ((Dim("a", max=8), 5), 0, 40),
        ((Dim("a", min=1, max=8), Dim("b", min=1, max=6)), 0, 48),
        ((Dim("a", min=3, max=8), Dim("b", min=4, max=6)), 12, 48),
        ((Dim("a", min=3), 5), 15, None),
    ],
)
def test_dynamic(dims, lower, upper):
    """A declared minimum below 3 does not count: torch does not keep it."""
    dynamic = {i: dim for i, dim in enumerate(dims) if not isinstance(dim, int)}
    program = torch.export.export(
        nn.Identity(), (torch.zeros(4, 5),), dynamic_shapes=({**dynamic},)
    ).run_decompositions({})
    x = next(iter(program.graph.nodes)).meta["val"]
    assert rows.bounds(x.shape) == rows.Bounds(lower, upper)


@pytest.mark.parametrize(
    "limits, meets",
    [((0, 1), True), ((0, 0), False), ((16, None), True), ((17, None), False), ((3, 5), True)],
)
def test_meet(limits, meets):
    assert rows.Bounds(*limits).meet(1, 16) == meets
