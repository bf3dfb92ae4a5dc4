"""One weight with several uses is one blob in the `.pte`, whatever it is called."""

import pytest
import torch
import torch.nn.functional as F
from executorch.backends.mlx.partitioner import MLXPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import nn

import backends.mlx.gguf.patterns  # noqa: F401
from backends.mlx.gguf.lowering import GGUFTensor, LoweringError, export_module, use_mode
from backends.mlx.gguf.lowering.testing import Exported, exact_weights, linear, quantize, to_numpy

BLOCKS = quantize("Q4_K", 2048, 256)
INDICES = torch.tensor([[0, 2047, 3]])


class Tied(nn.Module):
    """An embedding and a linear of one weight, which has one or two names.

    names: "embedding" or "head": one module's; "both": one parameter in two modules; "alias": two
    parameters of one storage; "copy": two storages; "shared": one dequantize node.
    between: computed between the two.
    """

    def __init__(self, names, between=torch.relu):
        super().__init__()
        self.between = between
        if names == "shared":
            self.register_buffer("blocks", BLOCKS)
            self.weights = self.dequantized
            return
        parameter = self.parameter(BLOCKS)
        if names in ("embedding", "both", "alias", "copy"):
            self.embedding = nn.Module()
            self.embedding.weight = parameter
        if names in ("head", "both"):
            self.head = nn.Module()
            self.head.weight = parameter
        if names in ("alias", "copy"):
            self.head = nn.Module()
            self.head.weight = self.parameter(BLOCKS.clone() if names == "copy" else BLOCKS)
        self.weights = self.named

    @staticmethod
    def parameter(blocks):
        return nn.Parameter(
            GGUFTensor.from_blocks(blocks, "Q4_K", torch.float32), requires_grad=False
        )

    def dequantized(self):
        weight = torch.ops.mlx_gguf.dequantize(self.blocks, "Q4_K", torch.float32)
        return weight, weight

    def named(self):
        modules = list(self.children())
        return modules[0].weight, modules[-1].weight

    def forward(self, indices):
        table, head = self.weights()
        return F.linear(self.between(F.embedding(indices, table)), head)


def with_unsupported_operator(x):
    """MLX has no cdist: what comes before and after it goes to two delegates."""
    return x + torch.cdist(x, x).sum(-1, keepdim=True)


def export(module, mode, **kwargs):
    return export_module(module.eval(), (INDICES,), mode=mode, **kwargs)


def assert_one_blob(pte, mode):
    """The weight's bytes are in the file once, under whatever names, and there is no second."""
    quants, factors = BLOCKS.shape[0] * 256 // 2, BLOCKS.shape[0] * 256 // 32 * 4
    sizes = {"fused": [BLOCKS.numel()], "repack": sorted([quants, factors, factors])}[mode]
    stored = {at: size for _, _, size, at in Exported(pte).program.constants().values()}
    # Others are the small constants of the operators between.
    assert sorted(size for size in stored.values() if size >= min(sizes)) == sizes
    assert len(pte) < sum(sizes) * 1.5


@pytest.mark.parametrize("mode", ["fused", "repack"])
@pytest.mark.parametrize("names", ["embedding", "head", "both", "alias", "copy", "shared"])
def test_one_blob(names, mode):
    pte = export(Tied(names), mode)
    assert_one_blob(pte, mode)
    exported = Exported(pte)
    expected = {
        "fused": {"MetalKernelNode": 2},
        "repack": {"TakeNode": 3, "DequantizeNode": 1, "QuantizedMatmulNode": 1},
    }
    found = {key: count for key, count in exported.nodes().items() if key in expected[mode]}
    assert found == expected[mode]
    weights = exact_weights("Q4_K", BLOCKS)
    product = weights[INDICES].clip(0) @ weights.T
    assert abs(to_numpy(exported(INDICES)) - product).max() < 2e-3


@pytest.mark.parametrize("mode", ["fused", "repack"])
def test_shared_node_in_one_delegate(mode):
    """The plain ExecuTorch calls leave the dequantize node shared: the handlers must take it."""
    program = torch.export.export(Tied("shared"), (INDICES,))
    with use_mode(mode):
        edge = to_edge_transform_and_lower(program, partitioner=[MLXPartitioner()])
    assert_one_blob(edge.to_executorch().buffer, mode)


@pytest.mark.parametrize("strict", [True, False])
def test_one_blob_from_non_strict_export(strict):
    assert_one_blob(export(Tied("both"), "fused", strict=strict), "fused")


@pytest.mark.parametrize("mode", ["fused", "repack"])
@pytest.mark.parametrize("names", ["both", "alias", "shared"])
def test_one_blob_in_two_delegates(names, mode):
    assert_one_blob(export(Tied(names, with_unsupported_operator), mode), mode)


@pytest.mark.parametrize("mode", ["fused", "repack"])
def test_copied_placeholders_are_one_constant(mode):
    """Two uses in one delegate and one in another: ExecuTorch copies the placeholder."""

    class Model(Tied):
        def forward(self, indices):
            weight, _ = self.weights()
            first = F.linear(F.embedding(indices, weight), weight)
            between = torch.cdist(first, first) @ torch.ones(3, 256)
            return F.linear(between, weight)

    pte = export(Model("head"), mode)
    assert_one_blob(pte, mode)
    # Reading it checks that each constant has data. Both delegates name theirs.
    names = [name for name in Exported(pte).program.constants() if "weight" in name]
    assert len(names) == {"fused": 2, "repack": 6}[mode]


def test_uses_that_mlx_does_not_take_are_named():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = linear(BLOCKS, "Q4_K", torch.float32)

        def forward(self, x):
            return x @ self.head.weight.t()

    with pytest.raises(LoweringError, match=r"expected .*, found forward: head.weight \(Q4_K\)$"):
        export_module(Model(), (torch.zeros(3, 256),))


def test_failure_leaves_the_old_file(tmp_path):
    class Model(nn.Module):
        def forward(self, blocks):
            return torch.ops.mlx_gguf.dequantize(blocks, "Q4_K", torch.float32)

    path = tmp_path / "model.pte"
    path.write_bytes(b"old")
    with pytest.raises(LoweringError):
        export_module(Model(), (BLOCKS,), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_to_a_file(tmp_path):
    path = tmp_path / "model.pte"
    assert export_module(Tied("both").eval(), (INDICES,), path, mode="fused") == path
    assert path.read_bytes() == export(Tied("both"), "fused")
    assert list(tmp_path.iterdir()) == [path]
