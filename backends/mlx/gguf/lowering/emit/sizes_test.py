"""Sizes that come at run time are measured and divided once, not once for each linear."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from backends.mlx.gguf.lowering import GGUFTensor, export_module
from backends.mlx.gguf.lowering.testing import Exported, linear, quantize, random

LAYERS, WIDTH = 4, 256


@pytest.mark.parametrize("rows", [1, 2, 7, 20])
def test_layers_share_them(rows):
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
    x = random((2, rows, WIDTH), torch.float32)
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
        rows, ids, is_sorted, inverse = torch.ops.mlx.moe_gather_inputs(x, experts, 2, 1)
        products = [
            torch.ops.mlx.gather_mm(rows, weight.transpose(-1, -2), ids)
            for weight in (self.of_4, self.of_8)
        ]
        return torch.ops.mlx.moe_scatter_outputs(products[0] + products[1], is_sorted, inverse, 2)


@pytest.mark.parametrize("rows", [1, 2, 12])
def test_they_take_no_value_that_is_still_read(rows):
    """ExecuTorch reads whether rows are sorted from a slot that it has given back.

    The second product's size, rows by those of one kernel, would come there: 0 for few rows.
    """
    model, count = Sorted(), Dim("rows", max=32)

    def inputs(rows):
        return random((rows, WIDTH), torch.float32), torch.arange(2 * rows).view(rows, 2) * 3 % 4

    exported = Exported(
        export_module(model, inputs(3), dynamic_shapes=({0: count}, {0: count}), mode="fused")
    )
    with torch.no_grad():
        expected = model(*inputs(rows))
    found = exported(*inputs(rows))
    torch.testing.assert_close(torch.tensor(found.tolist()), expected, rtol=1e-3, atol=1e-2)
