"""Mixtures of experts, with the weights as a GGUF file holds them: one tensor for each matrix.

`transformers` has gate and up in one tensor and runs the experts one after another. Here all that
the tokens chose run in one product with gathered matrices, for which MLX has an operator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

import backends.mlx.gguf.lowering  # noqa: F401  (registers mlx::gather_mm)


class Router(nn.Module):
    """Chooses `top_k` experts for each token; `weight` float32 (experts, size).

    forward(x): x (tokens, size). Returns the logits, float32 (tokens, experts), the shares of the
    chosen experts, float32 (tokens, top_k), which add up to 1, and their indices, int64 alike.
    """

    def __init__(self, experts: int, size: int, top_k: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, size, dtype=torch.float32))
        self.top_k = top_k

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # In float32 throughout: a rounding that changes the order makes it another network.
        logits = F.linear(x.float(), self.weight)
        shares, indices = torch.topk(logits.softmax(-1), self.top_k, dim=-1)
        return logits, shares / shares.sum(-1, keepdim=True), indices


class ExpertLinear(nn.Module):
    """A linear with a matrix for each expert: `weight` (experts, outputs, inputs).

    `factor`, float32 (experts,) or None: by which each expert's outputs are multiplied.

    forward(x, indices): x (tokens, 1 or top_k, 1, inputs), indices (tokens, top_k). Returns
    (tokens, top_k, 1, outputs).
    """

    def __init__(self, experts: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))
        self.register_parameter("factor", None)

    def forward(self, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        rows, weight = x.to(self.weight.dtype), self.weight.transpose(-1, -2)
        product = torch.ops.mlx.gather_mm(rows, weight, rhs_indices=indices)
        if self.factor is None:
            return product
        # In float16 the weight is float32: see `weights.ScaledLinear`.
        return (product.float() * self.factor[indices, None, None]).to(x.dtype)


class Experts(nn.Module):
    """Gated feed-forward networks, of which each token takes a few.

    forward(x, indices, shares): x (tokens, size), the others (tokens, top_k) as `Router` returns
    them. Returns the sum of the chosen experts' outputs times their shares, of x's shape and dtype.
    """

    def __init__(self, experts: int, size: int, inner: int, activation: nn.Module):
        super().__init__()
        self.gate_proj = ExpertLinear(experts, size, inner)
        self.up_proj = ExpertLinear(experts, size, inner)
        self.down_proj = ExpertLinear(experts, inner, size)
        self.activation = activation

    def forward(self, x: torch.Tensor, indices: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        rows = x[:, None, None]
        inner = self.activation(self.gate_proj(rows, indices)) * self.up_proj(rows, indices)
        outputs = self.down_proj(inner, indices).squeeze(-2)
        return (outputs.float() * shares.unsqueeze(-1)).sum(-2).to(x.dtype)


def replace_experts(network: nn.Module) -> None:
    """Replaces the routers and experts of a `transformers` module, before their values are set.

    Ours give the shares of the chosen experts a sum of 1, as llama.cpp does.
    """
    for block in network.modules():
        if not type(block).__name__.endswith("SparseMoeBlock"):
            continue
        router, experts = block.gate, block.experts
        count, size = router.weight.shape
        with torch.device(router.weight.device):
            block.gate = Router(count, size, router.top_k)
            block.experts = Experts(
                experts.num_experts, experts.hidden_dim, experts.intermediate_dim, experts.act_fn
            )
