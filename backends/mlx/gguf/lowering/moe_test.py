"""Whole layers with experts, as ExecuTorch and `transformers` write them, in both modes."""

import copy

import numpy as np
import pytest
import torch
from executorch.backends.mlx.llm.switch import SwitchMLP
from torch import nn
from torch.export import Dim
from transformers import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

from backends.mlx.gguf.lowering import GGUFTensor, export_module
from backends.mlx.gguf.lowering.testing import Exported, quantize, random, to_numpy

EXPERTS, TOP_K, HIDDEN, INNER = 4, 2, 256, 512


def parameter(rows, columns, ggml_type, dtype):
    blocks = quantize(ggml_type, EXPERTS * rows, columns, seed=rows)
    weight = GGUFTensor.from_blocks(blocks.reshape(EXPERTS, rows, -1), ggml_type, dtype)
    return nn.Parameter(weight, requires_grad=False)


class GGUFSwitchLinear(nn.Module):
    """`SwitchLinear` of ExecuTorch's with a GGUF weight."""

    def __init__(self, rows, columns, ggml_type, dtype):
        super().__init__()
        self.weight = parameter(rows, columns, ggml_type, dtype)

    def forward(self, x, indices, sorted_indices=None):
        return torch.ops.mlx.gather_mm(
            x,
            self.weight.transpose(-1, -2),
            rhs_indices=indices,
            sorted_indices=sorted_indices,
        )


class Switch(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.gate = nn.Linear(HIDDEN, EXPERTS, bias=False).to(dtype)
        self.mlp = SwitchMLP(HIDDEN, INNER, EXPERTS, sort_cutoff=2)
        self.mlp.gate_proj = GGUFSwitchLinear(INNER, HIDDEN, "Q4_K", dtype)
        self.mlp.up_proj = GGUFSwitchLinear(INNER, HIDDEN, "Q4_K", dtype)
        self.mlp.down_proj = GGUFSwitchLinear(HIDDEN, INNER, "Q8_0", dtype)

    def forward(self, x):
        scores, experts = torch.topk(self.gate(x).softmax(-1), TOP_K, dim=-1)
        return self.mlp(x, scores, experts, TOP_K)


class Qwen3(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        config = Qwen3MoeConfig(
            hidden_size=HIDDEN,
            moe_intermediate_size=INNER,
            num_experts=EXPERTS,
            num_experts_per_tok=TOP_K,
            norm_topk_prob=True,
        )
        config._experts_implementation = "batched_mm"
        self.block = Qwen3MoeSparseMoeBlock(config).to(dtype)
        nn.init.normal_(self.block.gate.weight, std=0.05)
        self.block.experts.gate_up_proj = parameter(2 * INNER, HIDDEN, "Q4_K", dtype)
        self.block.experts.down_proj = parameter(HIDDEN, INNER, "Q8_0", dtype)

    def forward(self, x):
        return self.block(x.unsqueeze(0)).squeeze(0)


@pytest.mark.parametrize("mode", ["fused", "repack"])
@pytest.mark.parametrize("layer, products", [(Switch, 3), (Qwen3, 2)])
def test_layer(layer, products, mode):
    """For one, few and many tokens; ExecuTorch's layer sorts from 3 on."""
    torch.manual_seed(0)
    module = layer(torch.float32).eval()
    exported = Exported(
        export_module(
            module,
            (random((3, HIDDEN), torch.float32),),
            mode=mode,
            dynamic_shapes=({0: Dim("tokens", min=1, max=64)},),
        )
    )
    nodes = exported.nodes()
    if mode == "fused":
        assert nodes["MetalKernelNode"] == 2 * products
    else:
        assert nodes["GatherQmmNode"] == products
    for count in (1, 2, 5, 30):
        x = random((count, HIDDEN), torch.float32)
        found = to_numpy(exported(x))
        with torch.no_grad():
            expected = module(x).double().numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("layer", [Switch, Qwen3])
def test_layer_in_bfloat16(layer):
    """Against float32: within a few roundings to bfloat16 of the largest output."""
    torch.manual_seed(0)
    module, x = layer(torch.bfloat16).eval(), random((5, HIDDEN), torch.bfloat16)
    with torch.no_grad():
        expected = copy.deepcopy(module).float()(x.float()).double().numpy()
    found = to_numpy(Exported(export_module(module, (x,), mode="fused"))(x))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.03 * np.abs(expected).max())
