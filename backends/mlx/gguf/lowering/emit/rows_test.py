"""The bounds of a number of rows; sizes of run time, computed once and not for each linear."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from backends.mlx.gguf.lowering import GGUFTensor, export_module
from backends.mlx.gguf.lowering.emit import rows
from backends.mlx.gguf.lowering.testing import Exported, linear, quantize, random

LAYERS, WIDTH = 4, 256


@pytest.mark.parametrize("sizes, product", [((), 1), ((3,), 3), ((2, 0, 5), 0), ((2, 3), 6)])
def test_static(sizes, product):
    assert rows.bounds(sizes) == rows.Bounds(product, product)


@pytest.mark.parametrize(
    "dims, lower, upper",
    [
        ((Dim("a", max=8), 5), 5, 40),
        ((Dim("a", min=1, max=8), Dim("b", min=1, max=6)), 1, 48),
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


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_layers_share_them(count):
    blocks = [quantize("Q4_K", WIDTH, WIDTH, seed) for seed in range(LAYERS)]
    model = nn.Sequential(*(linear(each, "Q4_K", torch.float32) for each in blocks))
    dynamic = {0: Dim("batch", max=4), 1: Dim("length", max=32)}
    exported = Exported(
        export_module(
            model, (random((2, 3, WIDTH), torch.float32),), dynamic_shapes=(dynamic,), mode="fused"
        )
    )
    counts = exported.program.node_counts()
    assert counts["SymSizeNode"] == 2 and counts["MultiplyIntNode"] == 1
    assert counts["MetalKernelNode"] > LAYERS
    one_layer = export_module(
        model[:1], (random((2, 3, WIDTH), torch.float32),), dynamic_shapes=(dynamic,), mode="fused"
    )
    divisions = Exported(one_layer).program.node_counts()["FloorDivideIntNode"]
    assert counts["FloorDivideIntNode"] == divisions > 0
    x = random((2, count, WIDTH), torch.float32)
    with torch.no_grad():
        expected = model(x)
    found = exported(x)
    torch.testing.assert_close(torch.tensor(found.tolist()), expected, rtol=1e-3, atol=1e-2)


class Sorted(nn.Module):
    """Rows sorted by expert, their products with two sets of experts, and back."""

    def __init__(self):
        super().__init__()
        for experts in (4, 8):
            blocks = quantize("Q4_K", experts * 5, WIDTH).reshape(experts, 5, -1)
            weight = GGUFTensor.from_blocks(blocks, "Q4_K", torch.float32)
            self.register_parameter(f"of_{experts}", nn.Parameter(weight, requires_grad=False))

    def forward(self, x, experts):
        sorted_rows, ids, is_sorted, inverse = torch.ops.mlx.moe_gather_inputs(x, experts, 2, 1)
        products = [
            torch.ops.mlx.gather_mm(sorted_rows, weight.transpose(-1, -2), ids)
            for weight in (self.of_4, self.of_8)
        ]
        return torch.ops.mlx.moe_scatter_outputs(products[0] + products[1], is_sorted, inverse, 2)


@pytest.mark.parametrize("count", [1, 2, 12])
def test_sizes_take_no_value_that_is_still_read(count):
    """ExecuTorch reads whether rows are sorted from a slot that it has given back.

    The second product's size, rows by those of one kernel, would come there: 0 for few rows.
    """
    model, rows_dim = Sorted(), Dim("rows", max=32)

    def inputs(tokens):
        experts = torch.arange(2 * tokens).view(tokens, 2) * 3 % 4
        return random((tokens, WIDTH), torch.float32), experts

    exported = Exported(
        export_module(model, inputs(3), dynamic_shapes=({0: rows_dim}, {0: rows_dim}), mode="fused")
    )
    with torch.no_grad():
        expected = model(*inputs(count))
    found = exported(*inputs(count))
    torch.testing.assert_close(torch.tensor(found.tolist()), expected, rtol=1e-3, atol=1e-2)
