"""The routers and experts against those of `transformers`."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import MixtralConfig, Qwen3MoeConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

from backends.mlx.gguf.model.experts import Router, replace_experts

SIZES = dict(hidden_size=16, num_experts_per_tok=3, experts_implementation="eager")
BLOCKS = {
    "qwen3moe": (
        Qwen3MoeSparseMoeBlock,
        lambda: Qwen3MoeConfig(
            **SIZES, num_experts=6, moe_intermediate_size=24, norm_topk_prob=True
        ),
    ),
    "mixtral": (
        MixtralSparseMoeBlock,
        lambda: MixtralConfig(**SIZES, num_local_experts=6, intermediate_size=24),
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_as_transformers(name):
    torch.manual_seed(0)
    kind, config = BLOCKS[name]
    expected = kind(config()).requires_grad_(False)
    for parameter in expected.parameters():
        nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    found = copy.deepcopy(expected)
    replace_experts(found)
    found.gate.weight.data = expected.gate.weight
    gate, up = expected.experts.gate_up_proj.chunk(2, dim=1)
    found.experts.gate_proj.weight.data = gate
    found.experts.up_proj.weight.data = up
    found.experts.down_proj.weight.data = expected.experts.down_proj
    x = torch.randn(1, 11, 16)
    torch.testing.assert_close(found(x), expected(x))


def test_router_is_exact_beside_bfloat16():
    """The logits of bfloat16 tokens are those of the same numbers in float32."""
    torch.manual_seed(0)
    router = Router(experts=8, size=16, top_k=2)
    nn.init.normal_(router.weight)
    x = torch.randn(5, 16, dtype=torch.bfloat16)
    logits, shares, indices = router(x)
    assert logits.dtype == shares.dtype == torch.float32
    exact = (x.double() @ router.weight.double().T).float()
    torch.testing.assert_close(logits, exact, atol=1e-5, rtol=0)
    torch.testing.assert_close(shares.sum(-1), torch.ones(5))
    assert torch.equal(indices, logits.topk(2).indices)
