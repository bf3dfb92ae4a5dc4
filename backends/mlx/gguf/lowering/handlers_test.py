"""Programs with ExecuTorch's own GGUF tensor, alone and beside ExecuTorch's own handlers."""

import pytest
import torch
from executorch.backends.mlx.builder.op_registry import REGISTRY
from executorch.extension.llm.export.gguf import ExportableGGUFTensor
from torch import nn

from backends.mlx.gguf import patterns  # noqa: F401
from backends.mlx.gguf.lowering import export_module, handlers
from backends.mlx.gguf.lowering.testing import (
    Exported,
    assert_product,
    embedding,
    linear,
    quantize,
    random,
    to_numpy,
)

UPSTREAM = ("GGUF_QUANTIZED_LINEAR", "GGUF_QUANTIZED_EMBEDDING")


def upstream_linear(blocks, ggml_type, dtype):
    module = linear(blocks, ggml_type.upper(), dtype)
    weight = ExportableGGUFTensor.from_raw(blocks, ggml_type, dtype)
    module.weight = nn.Parameter(weight, requires_grad=False)
    return module


def upstream_embedding(blocks, ggml_type, dtype):
    module = embedding(blocks, ggml_type.upper(), dtype)
    weight = ExportableGGUFTensor.from_raw(blocks, ggml_type, dtype)
    module.weight = nn.Parameter(weight, requires_grad=False)
    return module


def export(module, *inputs, mode="fused"):
    return Exported(export_module(module, inputs, mode=mode))


@pytest.fixture(params=["theirs first", "ours first"])
def upstream_handlers(request, monkeypatch):
    """ExecuTorch's handlers, registered before or after ours, for one test."""
    from executorch.backends.mlx.custom_kernel_ops.gguf import patterns as upstream

    theirs = {
        "GGUF_QUANTIZED_LINEAR": upstream.GGUFQuantizedLinearHandler,
        "GGUF_QUANTIZED_EMBEDDING": upstream.GGUFQuantizedEmbeddingHandler,
    }
    # Importing them registered them for the whole process.
    ours = {name: cls for name, cls in REGISTRY._patterns.items() if name not in theirs}
    REGISTRY._patterns = ours
    merged = {**theirs, **ours} if request.param == "theirs first" else {**ours, **theirs}
    monkeypatch.setattr(REGISTRY, "_patterns", merged)


def test_registered_once():
    before = list(REGISTRY.patterns())
    handlers.register()
    assert list(REGISTRY.patterns()) == before
    assert not set(UPSTREAM) & set(before)


@pytest.mark.parametrize("ggml_type", ["q4_k", "q6_k"])
def test_upstream_linear_lowers_through_ours(ggml_type):
    blocks, x = quantize(ggml_type.upper(), 5, 256), random((3, 256), torch.bfloat16)
    exported = export(upstream_linear(blocks, ggml_type, torch.bfloat16), x)
    assert exported.kernels() == [f"gguf_{ggml_type}_qmv_batch"]
    assert_product(exported(x), ggml_type.upper(), blocks, x, torch.bfloat16)


def test_upstream_embedding_lowers_through_ours():
    module = upstream_embedding(quantize("Q4_K", 67, 256), "q4_k", torch.float32)
    indices = torch.tensor([[0, 66, 3]])
    exported = export(module, indices)
    assert exported.kernels() == ["gguf_q4_k_gather"]
    assert (to_numpy(exported(indices)) == module(indices).double().numpy()).all()


def test_upstream_linear_repacked():
    x = random((3, 256), torch.float32)
    module = upstream_linear(quantize("Q4_K", 5, 256), "q4_k", torch.float32)
    assert export(module, x, mode="repack").nodes() == {"QuantizedMatmulNode": 1}


def test_our_weights_beside_upstream_handlers(upstream_handlers):
    x = random((1, 256), torch.float32)
    exported = export(linear(quantize("Q4_K", 5, 256), "Q4_K", torch.float32), x)
    assert exported.kernels() == ["gguf_q4_k_qmv"]


def test_upstream_weights_go_to_upstream_handlers(upstream_handlers, monkeypatch):
    monkeypatch.setenv("ET_MLX_EMIT_DIRECT_GGUF", "1")
    x = random((1, 256), torch.float32)
    exported = export(upstream_linear(quantize("Q4_K", 5, 256), "q4_k", torch.float32), x)
    assert exported.kernels() == ["gguf_q4k_matvec"]
