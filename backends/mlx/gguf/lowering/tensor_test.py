"""The operator and the weight tensor, in eager and in exported programs, without a backend."""

import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backends.mlx.gguf import formats
from backends.mlx.gguf.lowering import GGUFTensor
from backends.mlx.gguf.lowering.testing import embedding, linear, quantize, random

dequantize = torch.ops.mlx_gguf.dequantize
BLOCKS = quantize("Q4_K", 5, 512)


@pytest.mark.parametrize("ggml_type", list(formats.FORMATS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dequantize(ggml_type, dtype):
    blocks = quantize(ggml_type, 5, 512)
    expected = torch.from_numpy(formats.dequantize(formats.get(ggml_type), blocks.numpy()))
    found = dequantize(blocks, ggml_type.lower(), dtype)
    assert torch.equal(found, expected.to(dtype))
    torch.library.opcheck(dequantize.default, (blocks, ggml_type, dtype))


@pytest.mark.parametrize(
    "blocks, ggml_type, dtype, message",
    [
        (BLOCKS[0], "Q4_K", torch.float32, r"expected 2 dimensions .* found shape \(288,\)"),
        (BLOCKS[None, None], "Q4_K", torch.float32, r"or 3 with .* found shape \(1, 1, 5, 288\)"),
        (BLOCKS[None, :, :287], "Q4_K", torch.float32, "multiple of 144 bytes, found 287"),
        (BLOCKS, "Q9_K", torch.float32, "expected one of .*Q4_K.* found 'Q9_K'"),
        (BLOCKS[:, :287], "Q4_K", torch.float32, "multiple of 144 bytes, found 287"),
        (BLOCKS[:, :0], "Q4_K", torch.float32, "multiple of 144 bytes, found 0"),
        (BLOCKS.view(torch.int8), "Q4_K", torch.float32, "dtype torch.uint8, found torch.int8"),
        (BLOCKS, "Q4_K", torch.float64, "dtype one of torch.float32, .* found torch.float64"),
    ],
)
@pytest.mark.parametrize("make", [GGUFTensor.from_blocks, dequantize])
def test_bad_weights(make, blocks, ggml_type, dtype, message):
    with pytest.raises(ValueError, match=message) as error:
        make(blocks, ggml_type, dtype)
    assert "\n" not in str(error.value)


def test_dequantize_experts():
    blocks = quantize("Q4_K", 6, 512).reshape(2, 3, -1)
    found = dequantize(blocks, "Q4_K", torch.float32)
    assert found.shape == (2, 3, 512)
    for expert in range(2):
        assert torch.equal(found[expert], dequantize(blocks[expert], "Q4_K", torch.float32))
    torch.library.opcheck(dequantize.default, (blocks, "Q4_K", torch.float32))


def test_shape_without_data():
    with torch.device("meta"):
        found = dequantize(torch.empty(7, 420, dtype=torch.uint8), "Q6_K", torch.float16)
    assert (found.shape, found.dtype) == ((7, 512), torch.float16)


def test_tensor_looks_like_a_float_matrix():
    weight = GGUFTensor.from_blocks(BLOCKS, "q4_k")
    assert (weight.shape, weight.dtype, weight.ggml_type) == ((5, 512), torch.bfloat16, "Q4_K")
    assert weight.blocks.data_ptr() == BLOCKS.data_ptr()
    assert not weight.requires_grad


def test_linear():
    module, x = linear(BLOCKS, "Q4_K", torch.bfloat16), random((3, 512), torch.bfloat16)
    expected = F.linear(x, dequantize(BLOCKS, "Q4_K", torch.bfloat16))
    with torch.no_grad():
        assert torch.equal(module(x), expected)


def test_linear_of_another_type_is_refused():
    """As for a plain weight; torch's own message in eager, ours at export."""
    module, x = linear(BLOCKS, "Q4_K", torch.bfloat16), random((3, 512), torch.float32)
    with pytest.raises(RuntimeError, match="dtype"):
        module(x)
    program = torch.export.export(module, (x,))
    with pytest.raises(ValueError, match="weight's dtype torch.bfloat16, found torch.float32"):
        program.run_decompositions({})


def test_embedding():
    indices = torch.tensor([[0, 4, 2]])
    expected = dequantize(BLOCKS, "Q4_K", torch.float16)[indices]
    assert torch.equal(embedding(BLOCKS, "Q4_K", torch.float16)(indices), expected)


def test_transpose_is_plain():
    weight = GGUFTensor.from_blocks(BLOCKS, "Q4_K", torch.float32)
    assert torch.equal(weight.t(), weight.dequantize().t())


@pytest.mark.parametrize(
    "view",
    [
        lambda weight: weight.transpose(-1, -2),
        lambda weight: weight.permute(0, 2, 1),
        lambda weight: weight.mT,
        lambda weight: weight[torch.tensor([1, 0, 1])],
    ],
)
def test_views_of_experts_are_plain(view):
    blocks = quantize("Q4_K", 6, 512).reshape(2, 3, -1)
    weight = GGUFTensor.from_blocks(blocks, "Q4_K", torch.float32)
    assert (weight.shape, weight.blocks.shape) == ((2, 3, 512), blocks.shape)
    found = view(weight)
    assert type(found) is torch.Tensor
    assert torch.equal(found, view(dequantize(blocks, "Q4_K", torch.float32)))


def test_other_operators_are_refused():
    with pytest.raises(NotImplementedError, match="found aten.mul.Tensor"):
        GGUFTensor.from_blocks(BLOCKS, "Q4_K") * 2


def test_moving_a_module_keeps_the_blocks():
    module = copy.deepcopy(linear(BLOCKS, "Q4_K", torch.float32)).to(torch.float16)
    assert module.weight.dtype == torch.float16
    assert torch.equal(module.weight.blocks, BLOCKS)
    assert module.weight.to("cpu", torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize("assign", [True, False])
def test_state_dict(assign):
    source = linear(BLOCKS, "Q4_K", torch.float32)
    target = linear(torch.zeros_like(BLOCKS), "Q4_K", torch.float32)
    target.load_state_dict(source.state_dict(), assign=assign)
    assert torch.equal(target.weight.blocks, BLOCKS)


def test_copy_from_another_type_is_refused():
    weight = GGUFTensor.from_blocks(BLOCKS, "Q4_K")
    with pytest.raises(TypeError, match="Q4_K.* found GGUFTensor.Q6_K"):
        weight.copy_(GGUFTensor.from_blocks(quantize("Q6_K", 5, 512), "Q6_K"))


def test_save_and_load():
    file = io.BytesIO()
    torch.save(GGUFTensor.from_blocks(BLOCKS, "Q4_K"), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert (loaded.ggml_type, loaded.dtype) == ("Q4_K", torch.bfloat16)
    assert torch.equal(loaded.blocks, BLOCKS)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = embedding(BLOCKS, "Q4_K", torch.float32)
        self.head = linear(BLOCKS, "Q4_K", torch.float32)
        self.head.weight = self.embedding.weight

    def forward(self, indices):
        return self.head(self.embedding(indices))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("decompositions", [{}, None])
def test_export(strict, decompositions):
    """With no decompositions, as ExecuTorch asks for, and with torch's own."""
    module, indices = Tied().eval(), torch.tensor([[0, 4, 2]])
    program = torch.export.export(module, (indices,), strict=strict)
    program = program.run_decompositions(decompositions)
    called = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert called.count(dequantize.default) == 2
    assert (torch.ops.aten.linear.default in called) == (decompositions == {})
    with torch.no_grad():
        expected = module(indices)
    np.testing.assert_allclose(program.module()(indices).numpy(), expected.numpy(), rtol=1e-5)
