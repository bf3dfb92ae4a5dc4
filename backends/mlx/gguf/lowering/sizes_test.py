"""Sizes that come at run time are measured and divided once, not once for each linear."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from backends.mlx.gguf.lowering import export_module
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
