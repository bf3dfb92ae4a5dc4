"""Linears of GGUF weights, lowered to kernels that read the blocks, run and compared."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from backends.mlx.common.errors import InputError
from backends.mlx.gguf.lowering import export_module
from backends.mlx.gguf.lowering.testing import (
    DTYPES,
    Exported,
    assert_product,
    linear,
    quantize,
    random,
)
from backends.mlx.program import ProgramError


def export(module, *inputs, **kwargs):
    return Exported(export_module(module, inputs, mode="fused", **kwargs))


@pytest.mark.parametrize(
    "ggml_type, dtype, leading, rows, columns, kernel",
    [
        ("Q4_K", "float32", (1,), 67, 768, "qmv"),
        ("Q4_K", "float16", (2, 4), 5, 256, "qmv_batch"),
        ("Q5_K", "float16", (2, 8), 5, 256, "qmv_batch_16"),
        ("Q4_K", "bfloat16", (17,), 67, 256, "qmm"),
        ("Q6_K", "bfloat16", (1, 1), 5, 768, "qmv"),
        ("Q6_K", "float32", (3,), 67, 256, "qmv_batch"),
        ("Q6_K", "float16", (3, 11), 5, 768, "qmm"),
        ("Q4_K", "bfloat16", (), 5, 256, "qmv"),
    ],
)
def test_rows_select_the_kernel(ggml_type, dtype, leading, rows, columns, kernel):
    dtype = DTYPES[dtype]
    blocks = quantize(ggml_type, rows, columns)
    x = random((*leading, columns), dtype)
    exported = export(linear(blocks, ggml_type, dtype), x)
    assert exported.nodes() == {"MetalKernelNode": 1}
    assert exported.kernels() == [f"gguf_{ggml_type.lower()}_{kernel}"]
    assert_product(exported(x), ggml_type, blocks, x, dtype)


def test_blocks_are_stored_as_they_are():
    blocks = quantize("Q4_K", 67, 256)
    exported = export(linear(blocks, "Q4_K", torch.float32), random((1, 256), torch.float32))
    ((shape, dtype, nbytes, _),) = exported.program.constants().values()
    assert (tuple(shape), nbytes) == (tuple(blocks.shape), blocks.numel())
    assert "uint8" in str(dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bias(dtype):
    dtype = DTYPES[dtype]
    blocks, bias = quantize("Q4_K", 5, 256), random((5,), dtype, seed=2)
    x = random((3, 256), dtype)
    exported = export(linear(blocks, "Q4_K", dtype, bias), x)
    assert exported.kernels() == ["gguf_q4_k_qmv_batch_bias"]
    assert_product(exported(x), "Q4_K", blocks, x, dtype, bias)


def test_float32_bias_of_bfloat16_rows():
    """torch computes this in float32 at export: the output is what the node says."""
    blocks, bias = quantize("Q6_K", 5, 256), random((5,), torch.float32, seed=2)
    x = random((1, 256), torch.bfloat16)
    exported = export(linear(blocks, "Q6_K", torch.bfloat16, bias), x)
    assert_product(exported(x), "Q6_K", blocks, x, torch.float32, bias)


def test_bias_from_an_input():
    class Model(nn.Module):
        def __init__(self, blocks):
            super().__init__()
            self.linear = linear(blocks, "Q4_K", torch.float32)

        def forward(self, x, bias):
            return nn.functional.linear(x, self.linear.weight, bias)

    blocks = quantize("Q4_K", 5, 256)
    x, bias = random((2, 256), torch.float32), random((5,), torch.float32, seed=2)
    assert_product(export(Model(blocks), x, bias)(x, bias), "Q4_K", blocks, x, torch.float32, bias)


def test_no_rows():
    """ExecuTorch's runtime makes no tensor without elements."""
    module = linear(quantize("Q4_K", 5, 256), "Q4_K", torch.float32)
    with pytest.raises(InputError, match="expected at least one row, found none"):
        export(module, torch.empty(2, 0, 256))
    exported = export(
        module, random((3, 256), torch.float32), dynamic_shapes=({0: Dim("rows", max=8)},)
    )
    with pytest.raises(ProgramError, match="grid: expected sizes above 0"):
        exported(torch.empty(0, 256))


@pytest.mark.parametrize("minimum, maximum", [(None, None), (0, 64), (1, 64), (2, 64)])
def test_dynamic_rows_select_at_run_time(minimum, maximum):
    """Whatever minimum is declared: torch itself forgets those below 2."""
    blocks = quantize("Q4_K", 5, 256)
    module = linear(blocks, "Q4_K", torch.float32)
    rows = Dim("rows", min=minimum, max=maximum)
    exported = export(module, random((18, 256), torch.float32), dynamic_shapes=({0: rows},))
    operations = ("qmm", "qmv", "qmv_2", "qmv_batch", "qmv_batch_16")
    assert exported.kernels() == [f"gguf_q4_k_{op}" for op in operations]
    assert exported.nodes()["IfNode"] == 4
    selected = {1: "qmv", 2: "qmv_2", 3: "qmv_batch", 8: "qmv_batch"}
    selected |= {9: "qmv_batch_16", 16: "qmv_batch_16", 17: "qmm", 40: "qmm"}
    for count, operation in selected.items():
        x = random((count, 256), torch.float32)
        assert exported.launched(x) == [f"gguf_q4_k_{operation}"]
        assert_product(exported(x), "Q4_K", blocks, x, torch.float32)


def test_two_dynamic_sizes():
    blocks = quantize("Q6_K", 5, 256)
    shapes = ({0: Dim("batch", max=4), 1: Dim("length", max=16)},)
    exported = export(
        linear(blocks, "Q6_K", torch.float32),
        random((2, 3, 256), torch.float32),
        dynamic_shapes=shapes,
    )
    for leading in ((1, 1), (2, 3), (4, 16)):
        x = random((*leading, 256), torch.float32)
        assert_product(exported(x), "Q6_K", blocks, x, torch.float32)


@pytest.mark.parametrize(
    "minimum, maximum, operations",
    [
        (17, 64, ["qmm"]),
        (3, 8, ["qmv_batch"]),
        (3, 16, ["qmv_batch", "qmv_batch_16"]),
        (9, 64, ["qmm", "qmv_batch_16"]),
    ],
)
def test_only_reachable_kernels_are_emitted(minimum, maximum, operations):
    module = linear(quantize("Q4_K", 5, 256), "Q4_K", torch.float32)
    x = random((minimum + 1, 256), torch.float32)
    rows = Dim("rows", min=minimum, max=maximum)
    exported = export(module, x, dynamic_shapes=({0: rows},))
    assert exported.kernels() == [f"gguf_q4_k_{operation}" for operation in operations]
    assert exported.nodes().get("IfNode", 0) == len(operations) - 1
