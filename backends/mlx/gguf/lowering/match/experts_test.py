"""Rows times the matrices of their experts, lowered in both modes, run and compared."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from backends.mlx.gguf import kernels
from backends.mlx.gguf.lowering import GGUFTensor, LoweringError, export_module
from backends.mlx.gguf.lowering.testing import (
    DTYPES,
    Exported,
    assert_dtype,
    assert_expert_product,
    mergeable_q6_k,
    quantize,
    random,
    to_numpy,
)

EXPERTS = 4
gather_mm = torch.ops.mlx.gather_mm


def make_blocks(ggml_type, rows=5, columns=256):
    return quantize(ggml_type, EXPERTS * rows, columns).reshape(EXPERTS, rows, -1)


def choose(*shape, dtype=torch.int64, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, EXPERTS, shape, generator=generator).to(dtype)


class Product(nn.Module):
    """`forward(weight, *inputs)` of a weight with experts."""

    def __init__(self, blocks, ggml_type, dtype, forward):
        super().__init__()
        weight = GGUFTensor.from_blocks(blocks, ggml_type, dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.product = forward

    def forward(self, *inputs):
        return self.product(self.weight, *inputs)


def by_gather_mm(weight, x, indices):
    return gather_mm(x, weight.transpose(-1, -2), rhs_indices=indices)


def by_batched_columns(weight, x, indices):
    return torch.bmm(weight[indices], x.unsqueeze(-1)).squeeze(-1)


def by_batched_rows(weight, x, indices):
    return torch.bmm(x.unsqueeze(1), weight[indices].transpose(1, 2)).squeeze(1)


def by_transposed_first(weight, x, indices):
    return torch.bmm(x.unsqueeze(1), weight.permute(0, 2, 1)[indices]).squeeze(1)


def by_matmul(weight, x, indices):
    return (weight[indices] @ x.unsqueeze(-1)).squeeze(-1)


BATCHED = [by_batched_columns, by_batched_rows, by_transposed_first, by_matmul]


def export(forward, blocks, ggml_type, dtype, *inputs, mode="fused", **kwargs):
    module = Product(blocks, ggml_type, dtype, forward)
    return Exported(export_module(module, inputs, mode=mode, **kwargs))


@pytest.mark.parametrize(
    "ggml_type, dtype, x_shape, ids_shape, kernel",
    [
        ("Q4_K", "float32", (3, 1, 1, 256), (3, 2), "gather_qmv"),
        ("Q4_K", "float16", (3, 2, 1, 256), (3, 2), "gather_qmv"),
        ("Q6_K", "bfloat16", (1, 1, 1, 256), (1, 2), "gather_qmv"),
        ("Q8_0", "bfloat16", (12, 1, 1, 256), (12, 2), "gather_qmm"),
        ("Q4_K", "float32", (24, 1, 256), (24,), "gather_qmm"),
        ("Q4_K", "float32", (1, 256), (2, 3), "gather_qmv"),
        ("Q4_K", "float32", (2, 3, 1, 1, 256), (2, 3, 2), "gather_qmv"),
    ],
)
def test_gather_mm(ggml_type, dtype, x_shape, ids_shape, kernel):
    """Rows are repeated where x has 1 for the last sizes of the indices."""
    dtype = DTYPES[dtype]
    blocks, x, indices = make_blocks(ggml_type), random(x_shape, dtype), choose(*ids_shape)
    exported = export(by_gather_mm, blocks, ggml_type, dtype, x, indices)
    assert exported.nodes() == {"MetalKernelNode": 1}
    assert exported.kernels() == [f"gguf_{ggml_type.lower()}_{kernel}"]
    found = exported(x, indices)
    assert found.shape == (*ids_shape, 1, 5)
    assert_expert_product(found, ggml_type, blocks, x, indices, dtype)


@pytest.mark.parametrize("mode", ["fused", "repack"])
@pytest.mark.parametrize("forward", BATCHED)
def test_index_and_batched_product(forward, mode):
    blocks, x = make_blocks("Q4_K"), random((6, 256), torch.float32)
    indices = choose(6, dtype=torch.int32)
    exported = export(forward, blocks, "Q4_K", torch.float32, x, indices, mode=mode)
    product = "MetalKernelNode" if mode == "fused" else "GatherQmmNode"
    assert exported.nodes()[product] == 1
    assert not {"TransposeNode", "TakeNode", "MatmulNode"} & set(exported.nodes())
    found = exported(x, indices)
    assert found.shape == (6, 5)
    assert_expert_product(found, "Q4_K", blocks, x, indices, torch.float32)


def test_blocks_are_stored_as_they_are():
    blocks, x, indices = make_blocks("Q4_K"), random((3, 1, 256), torch.float32), choose(3)
    exported = export(by_gather_mm, blocks, "Q4_K", torch.float32, x, indices)
    ((shape, dtype, nbytes, _),) = exported.program.constants().values()
    assert (tuple(shape), nbytes) == (tuple(blocks.shape), blocks.numel())
    assert "uint8" in str(dtype)


@pytest.mark.parametrize("mode", ["fused", "repack"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_dynamic_number_of_indices(mode, top_k):
    blocks = make_blocks("Q4_K")
    tokens = Dim("tokens", min=1, max=64)
    exported = export(
        by_gather_mm,
        blocks,
        "Q4_K",
        torch.float32,
        random((3, 1, 1, 256), torch.float32),
        choose(3, top_k),
        mode=mode,
        # Of the arguments (*inputs).
        dynamic_shapes=(({0: tokens}, {0: tokens}),),
    )
    for count in (1, 8, 9, 40):
        x, indices = random((count, 1, 1, 256), torch.float32), choose(count, top_k)
        found = exported(x, indices)
        assert found.shape == (count, top_k, 1, 5)
        assert_expert_product(found, "Q4_K", blocks, x, indices, torch.float32)
        if mode == "fused":
            operation = kernels.expert_for_rows(count * top_k, EXPERTS)
            assert exported.launched(x, indices) == [f"gguf_q4_k_{operation}"]


@pytest.mark.parametrize("mode", ["fused", "repack"])
@pytest.mark.parametrize("forward", BATCHED)
def test_dynamic_batch(forward, mode):
    blocks, count = make_blocks("Q4_K"), Dim("count", max=64)
    inputs = random((3, 256), torch.float32), choose(3)
    shapes = (({0: count}, {0: count}),)
    exported = export(
        forward, blocks, "Q4_K", torch.float32, *inputs, mode=mode, dynamic_shapes=shapes
    )
    for count in (1, 20):
        x, indices = random((count, 256), torch.float32), choose(count)
        found = exported(x, indices)
        assert found.shape == (count, 5)
        assert_expert_product(found, "Q4_K", blocks, x, indices, torch.float32)


@pytest.mark.parametrize("count", [6, 20])
def test_indices_outside_give_zeros(count):
    """In every kernel; to torch's own index they are errors, or count from the end."""
    blocks, x, indices = make_blocks("Q4_K"), random((count, 256), torch.float32), choose(count)
    exported = export(by_batched_columns, blocks, "Q4_K", torch.float32, x, indices)
    outside = {1: EXPERTS, 3: -1, 4: 1 << 40}
    for row, index in outside.items():
        indices[row] = index
    found = to_numpy(exported(x, indices))
    for row in range(count):
        assert found[row].any() == (row not in outside)


def test_one_weight_in_two_products_is_stored_once():
    def forward(weight, x, indices):
        turned = weight.transpose(-1, -2)
        return gather_mm(x, turned, indices), gather_mm(x, turned, EXPERTS - 1 - indices)

    blocks, x, indices = make_blocks("Q4_K"), random((3, 1, 256), torch.float32), choose(3)
    exported = export(forward, blocks, "Q4_K", torch.float32, x, indices)
    assert exported.nodes()["MetalKernelNode"] == 2
    assert [c[2] for c in exported.program.constants().values()].count(blocks.numel()) == 1
    first, second = exported.run(x, indices)
    assert_expert_product(first, "Q4_K", blocks, x, indices, torch.float32)
    mirrored = EXPERTS - 1 - indices
    assert_expert_product(second, "Q4_K", blocks, x, mirrored, torch.float32)


@pytest.mark.parametrize(
    "forward, shape",
    [
        # Several rows for each index.
        (by_gather_mm, (3, 2, 256)),
        # A row for each of several indices that are not neighbours.
        (lambda w, x, i: gather_mm(x, w.transpose(-1, -2), i.expand(3, 3)), (3, 1, 256)),
        (lambda w, x, i: gather_mm(x, w.transpose(-1, -2), i, lhs_indices=i), (3, 1, 256)),
        # A product with the matrices as they are, not transposed.
        (lambda w, x, i: gather_mm(x, w.mT.mT, i), (3, 1, 5)),
        (lambda w, x, i: torch.bmm(w[i], x), (3, 256, 2)),
        (lambda w, x, i: w[i] * x, (3, 1, 256)),
    ],
)
def test_other_products_are_refused(forward, shape):
    blocks = make_blocks("Q4_K")
    with pytest.raises(LoweringError, match="products with experts.*found forward: weight"):
        export(forward, blocks, "Q4_K", torch.float32, random(shape, torch.float32), choose(3))


@pytest.mark.parametrize("affine_dtype", ["activation", "float32"])
def test_repacked_bfloat16(affine_dtype):
    """The factors of Q8_0 are its scales, float16, which bfloat16 rounds."""
    blocks, dtype = make_blocks("Q8_0"), torch.bfloat16
    x, indices = random((3, 1, 1, 256), dtype), choose(3, 2)
    settings = {"mode": "repack", "affine_dtype": affine_dtype}
    exported = export(by_gather_mm, blocks, "Q8_0", dtype, x, indices, **settings)
    found = exported(x, indices)
    assert_dtype(found, dtype)
    if affine_dtype == "float32":
        assert exported.nodes() == {"GatherQmmNode": 1, "AsTypeNode": 1}
        assert_expert_product(found, "Q8_0", blocks, x, indices, dtype)
    else:
        assert exported.nodes() == {"GatherQmmNode": 1}
        scales = blocks.numpy().reshape(EXPERTS, 5, 8, 34)[..., :2].copy().view(np.float16)
        quants = blocks.numpy().reshape(EXPERTS, 5, 8, 34)[..., 2:].view(np.int8)
        rounded = torch.from_numpy(scales).to(dtype).double().numpy()
        weights = (rounded * quants).reshape(EXPERTS, 5, 256)
        assert_expert_product(found, "Q8_0", blocks, x, indices, dtype, weights)


def test_repacked_where_groups_merge():
    blocks = mergeable_q6_k(EXPERTS * 5, 256).reshape(EXPERTS, 5, -1)
    x, indices = random((3, 1, 256), torch.float32), choose(3)
    exported = export(by_gather_mm, blocks, "Q6_K", torch.float32, x, indices, mode="repack")
    assert exported.nodes() == {"GatherQmmNode": 1}
    assert_expert_product(exported(x, indices), "Q6_K", blocks, x, indices, torch.float32)


def test_fused_and_logged_where_they_do_not(caplog):
    blocks = make_blocks("Q6_K")
    x, indices = random((3, 1, 256), torch.float32), choose(3)
    with caplog.at_level(logging.WARNING, "mlx_gguf.lowering"):
        exported = export(by_gather_mm, blocks, "Q6_K", torch.float32, x, indices, mode="repack")
    assert exported.kernels() == ["gguf_q6_k_gather_qmv"]
    (record,) = [r for r in caplog.records if r.name == "mlx_gguf.lowering"]
    assert record.getMessage().startswith("weight: Q6_K stays fused")
    assert_expert_product(exported(x, indices), "Q6_K", blocks, x, indices, torch.float32)
