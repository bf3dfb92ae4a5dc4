"""Exported torch modules: the Runner's outputs against eager ones."""

import math

import mlx.core as mx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

from backends.mlx.common.dtypes import dtype_name
from backends.mlx.program import Program, ProgramError
from backends.mlx.program.testing import (
    GraphFile,
    IntOrVid,
    MLXPartitioner,
    export,
    mlx_schema,
    to_edge_transform_and_lower,
)
from backends.mlx.runner import Runner, interpreter
from backends.mlx.runner import runner as runner_module

torch.manual_seed(0)


def check(path, module, inputs, cases=None, dynamic_shapes=None, tolerance=1e-5):
    """Exports `module` at `inputs`, compares at `cases` (default: the same)."""
    export(path, module, inputs, dynamic_shapes)
    runner = Runner(path)
    for case in cases or [inputs]:
        with torch.no_grad():
            expected = module(*case)
        actual = runner(*case)
        expected = expected if isinstance(expected, tuple) else (expected,)
        assert len(actual) == len(expected)
        for have, want in zip(actual, expected, strict=True):
            assert dtype_name(have.dtype) == dtype_name(want.dtype)
            assert tuple(have.shape) == tuple(want.shape)
            # Every value of the tested types fits float32, and numpy has no bfloat16.
            have, want = np.array(have.astype(mx.float32)), want.float().numpy()
            np.testing.assert_allclose(have, want, rtol=tolerance, atol=tolerance)
    return runner.program


class Chain(nn.Module):
    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, *inputs):
        return self.function(*self.parts, *inputs)


def test_linear(tmp_path):
    program = check(tmp_path / "a.pte", nn.Linear(8, 5), (torch.randn(2, 3, 8),))
    shape, dtype, size, offset = next(
        entry for name, entry in program.constants().items() if name.endswith("weight")
    )
    assert (shape, dtype, size, offset % 16) == ((5, 8), "float32", 160, 0)


def test_linear_in_bfloat16(tmp_path):
    linear = nn.Linear(8, 5, bias=False).bfloat16()
    check(tmp_path / "a.pte", linear, (torch.randn(3, 8).bfloat16(),), tolerance=1e-2)


def test_embedding_softmax_slices(tmp_path):
    module = Chain(
        lambda embed, i: torch.softmax(embed(i)[:, 1:, ::2] * 2 + 1, -1), nn.Embedding(11, 6)
    )
    check(tmp_path / "a.pte", module, (torch.tensor([[0, 10, 3], [4, 4, 9]]),))


def test_several_inputs_and_outputs_in_the_methods_order(tmp_path):
    module = Chain(lambda x, i, y: (y.sum(-1), x[:, i], (x @ y).argmax(-1)))
    inputs = (torch.randn(3, 4), torch.tensor([2, 0]), torch.randn(4, 5))
    check(tmp_path / "a.pte", module, inputs)


def test_unused_input(tmp_path):
    check(tmp_path / "a.pte", Chain(lambda x, y: y.exp()), (torch.randn(2), torch.randn(3)))


def test_dynamic_rows(tmp_path):
    module = Chain(lambda one, two, x: two(F.silu(one(x))), nn.Linear(8, 6), nn.Linear(6, 4))
    shapes = ((({0: Dim("rows", min=1, max=16)},)),)
    cases = [(torch.randn(rows, 8),) for rows in (1, 2, 5, 16)]
    check(tmp_path / "a.pte", module, cases[2], cases, shapes)
    runner = Runner(tmp_path / "a.pte")
    with pytest.raises(ProgramError, match=r"shape: expected \[0..16, 8\], found \[17, 8\]"):
        runner(torch.randn(17, 8))


class Attention(nn.Module):
    """One causal attention block with RMS norm, rotary embedding and grouped heads."""

    def __init__(self, dim=16, heads=4, groups=2):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, dim // heads
        self.norm = nn.RMSNorm(dim)
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, groups * self.size, bias=False)
        self.v = nn.Linear(dim, groups * self.size, bias=False)
        self.out = nn.Linear(dim, dim)
        speeds = 100.0 ** -(torch.arange(0, self.size, 2) / self.size)
        self.register_buffer("angles", torch.arange(8)[:, None] * speeds)

    def rotate(self, x):
        angle = self.angles[: x.shape[-2]]
        even, odd = x[..., ::2], x[..., 1::2]
        turned = (even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos())
        return torch.stack(turned, -1).flatten(-2)

    def forward(self, x):
        h = self.norm(x)

        def split(y, heads):
            return y.view(*y.shape[:2], heads, self.size).transpose(1, 2)

        q, k = self.rotate(split(self.q(h), self.heads)), self.rotate(split(self.k(h), self.groups))
        attended = F.scaled_dot_product_attention(
            q, k, split(self.v(h), self.groups), is_causal=True, enable_gqa=True
        )
        return x + self.out(attended.transpose(1, 2).flatten(-2))


def test_attention_block(tmp_path):
    program = check(tmp_path / "a.pte", Attention(), (torch.randn(2, 5, 16),))
    assert program.node_counts()["SdpaNode"] == 1


class Cache(nn.Module):
    """Writes its input at a position of a buffer that lives from call to call."""

    def __init__(self):
        super().__init__()
        self.register_buffer("rows", torch.zeros(4, 3))

    def forward(self, row, position):
        self.rows.index_copy_(0, position, row)
        return self.rows * 2


def test_cache_keeps_its_contents(tmp_path):
    module = Cache()
    export(tmp_path / "a.pte", module, (torch.randn(1, 3), torch.tensor([0])))
    runner = Runner(tmp_path / "a.pte")
    expected = torch.zeros(4, 3)
    for position in (2, 0):
        row = torch.randn(1, 3)
        expected[position] = row
        (out,) = runner(row, torch.tensor([position]))
        np.testing.assert_array_equal(np.array(out), expected.numpy() * 2)
    runner.reset()
    (out,) = runner(torch.zeros(1, 3), torch.tensor([3]))
    assert not np.array(out).any()


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("bfloat16", 2**-8)])
@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_matmul_and_dequantize(tmp_path, bits, dtype, tolerance):
    rng = np.random.default_rng(0)
    weight = mx.array(rng.normal(size=(6, 64)).astype(np.float32))
    packed, scales, biases = mx.quantize(weight, group_size=32, bits=bits)
    file = GraphFile(
        constants={
            "w": np.array(packed),
            "scales": np.array(scales),
            "biases": np.array(biases),
        },
        inputs=[x := rng.normal(size=(3, 64)).astype(np.float32)],
        outputs=[np.zeros((3, 6), np.float32), np.zeros((6, 64), np.float32)],
        temps=4,
    )
    code = {"float32": 6, "bfloat16": 15}[dtype]
    casts = [(file.input(0), 0), (file.constant(1), 1), (file.constant(2), 2)]
    for source, index in casts:
        file.chains[0].append(mlx_schema.AsTypeNode(source, file.temp(index), scalar_type=code))
    affine = dict(group_size=32, bits=bits, mode="affine")
    file.chains[0] += [
        mlx_schema.QuantizedMatmulNode(
            x=file.temp(0), w=file.constant(0), scales=file.temp(1), biases=file.temp(2),
            out=file.output(0), **affine,
        ),
        mlx_schema.DequantizeNode(
            w=file.constant(0), scales=file.temp(1), biases=file.temp(2), out=file.output(1),
            **affine,
        ),
    ]  # fmt: skip
    runner = Runner(file.write(tmp_path / "a.pte"))
    product, table = (np.array(out) for out in runner(x))
    # The rounding of scales and biases is the program's; the runner adds only the output's.
    x, scales, biases = (
        mx.array(part).astype(getattr(mx, dtype)).astype(mx.float32) for part in (x, scales, biases)
    )
    expected = np.array(mx.dequantize(packed, scales, biases, group_size=32, bits=bits))
    np.testing.assert_allclose(table, expected, atol=1e-6, rtol=tolerance)
    np.testing.assert_allclose(product, np.array(x) @ expected.T, atol=2e-5, rtol=tolerance)


def test_constant_affine_weight_is_dequantized_once(tmp_path):
    rng = np.random.default_rng(1)
    parts = mx.quantize(mx.array(rng.normal(size=(6, 64)).astype(np.float32)), 32, 4)
    file = GraphFile(
        constants=dict(zip(("w", "scales", "biases"), map(np.array, parts), strict=True)),
        inputs=[x := rng.normal(size=(2, 64)).astype(np.float32)],
        outputs=[np.zeros((2, 6), np.float32)],
    )
    file.chains[0].append(
        mlx_schema.QuantizedMatmulNode(
            x=file.input(0), w=file.constant(0), scales=file.constant(1), biases=file.constant(2),
            out=file.output(0), group_size=32, bits=4, mode="affine",
        )
    )  # fmt: skip
    runner = Runner(file.write(tmp_path / "a.pte"))
    expected = x @ np.array(mx.dequantize(*parts, 32, 4)).T
    cache = runner._interpreters[0].cache
    weights = set()
    for _ in range(2):
        np.testing.assert_allclose(np.array(runner(x)[0]), expected, rtol=1e-4, atol=1e-5)
        (weight,) = cache.values()
        weights.add(id(weight))
    assert weight.dtype == mx.float32 and len(weights) == 1


def test_methods(tmp_path):
    exported = torch.export.export(nn.Linear(8, 5), (torch.randn(2, 8),))
    facts = {"get_eos_ids": [2, 7]}
    edge = to_edge_transform_and_lower(
        exported, partitioner=[MLXPartitioner()], constant_methods=facts
    )
    (tmp_path / "a.pte").write_bytes(edge.to_executorch().buffer)
    program = Program(tmp_path / "a.pte")
    assert Runner(program, "get_eos_ids")() == [2, 7]
    assert Runner(program)(np.zeros((2, 8), np.float32))[0].shape == (2, 5)
    with pytest.raises(ProgramError, match="method: expected one of .'forward', 'get_eos_ids'.,"):
        Runner(program, "train")


def test_arrays_beyond_the_machine_are_refused(tmp_path, monkeypatch):
    x = np.zeros((3, 4), np.float32)
    file = GraphFile(inputs=[x], outputs=[np.zeros((30, 4), np.float32)])
    repeats = IntOrVid.from_literal(10)
    file.chains[0].append(
        mlx_schema.RepeatNode(x=file.input(0), out=file.output(0), repeats=repeats, axis=0)
    )
    runner = Runner(file.write(tmp_path / "a.pte"))
    monkeypatch.setattr(interpreter, "MEMORY_BYTES", 10 * x.nbytes)
    assert runner(x)[0].shape == (30, 4)
    monkeypatch.setattr(interpreter, "MEMORY_BYTES", 10 * x.nbytes - 1)
    with pytest.raises(ProgramError, match="RepeatNode: result bytes: expected at most this mach"):
        runner(x)


def test_mutable_buffers_beyond_the_machine_are_refused(tmp_path, monkeypatch):
    x = np.zeros((3, 4), np.float32)
    file = GraphFile(inputs=[x], outputs=[x], mutable=[x, x])
    file.chains[0].append(mlx_schema.AddNode(a=file.input(0), b=file.buffer(1), out=file.output(0)))
    file.write(tmp_path / "a.pte")
    monkeypatch.setattr(interpreter, "MEMORY_BYTES", 2 * x.nbytes)
    Runner(tmp_path / "a.pte")
    monkeypatch.setattr(interpreter, "MEMORY_BYTES", 2 * x.nbytes - 1)
    with pytest.raises(ProgramError, match="mutable buffers bytes: expected at most .* found 96"):
        Runner(tmp_path / "a.pte")


def test_everything_that_mlx_raises_names_the_node(tmp_path):
    x = np.zeros((3, 4), np.float32)
    file = GraphFile(inputs=[x], outputs=[x])
    node = mlx_schema.BitwiseXorNode(a=file.input(0), b=file.input(0), out=file.output(0))
    file.chains[0].append(node)
    runner = Runner(file.write(tmp_path / "a.pte"))
    with pytest.raises(ProgramError, match="BitwiseXorNode: expected operands that MLX accepts"):
        runner(x)


def test_partly_lowered_program_is_refused(tmp_path):
    # MLX's partitioner does not take a scalar's power, which leaves a CPU kernel in the plan.
    export(tmp_path / "a.pte", Chain(lambda x: (2.0**x).cos()), (torch.randn(4),))
    with pytest.raises(ProgramError, match=r"MLX delegate, found aten::pow.Scalar_out"):
        Runner(tmp_path / "a.pte")


@pytest.mark.parametrize(
    "value, expected, same",
    [
        (1.0001, 1.0, True),
        (1.001, 1.0, False),
        (1e6 + 10, 1e6, True),
        (1, 1.0, True),
        (math.nan, math.nan, True),
        (math.inf, math.inf, True),
        (-math.inf, math.inf, False),
        (math.nan, 1.0, False),
        ("1.0", 1.0, False),
        ("mean", "mean", True),
        ("mean", "sum", False),
    ],
)
def test_inputs_that_are_part_of_the_program(value, expected, same):
    assert runner_module._is_same(value, expected) == same


@pytest.mark.parametrize("kind", ["torch", "numpy", "mlx"])
def test_inputs_of_each_library(tmp_path, kind):
    export(tmp_path / "a.pte", Chain(lambda x: x * 2), (torch.randn(3),))
    x = torch.tensor([1.0, 2.0, 3.0])
    value = {"torch": x, "numpy": x.numpy(), "mlx": mx.array(x.numpy())}[kind]
    assert Runner(Program(tmp_path / "a.pte"))(value)[0].tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    "inputs, message",
    [
        ((), "inputs: expected 1, found 0"),
        ((np.zeros(3, np.float32), 1), "inputs: expected 1, found 2"),
        ((np.zeros(4, np.float32),), r"input 0 shape: expected \[3\], found \[4\]"),
        ((np.zeros((1, 3), np.float32),), r"input 0 shape: expected \[3\], found \[1, 3\]"),
        ((np.zeros(3, np.float16),), "input 0 dtype: expected float32, found float16"),
        ((np.zeros(3, np.float64),), "input 0 dtype: expected one of .*float32.*, found float64"),
        ((3,), "input 0: expected a tensor .mx.array, numpy or torch., found int"),
    ],
)
def test_inputs_that_do_not_fit(tmp_path, inputs, message):
    file = GraphFile(inputs=[np.zeros(3, np.float32)], outputs=[np.zeros(3, np.float32)])
    file.chains[0].append(mlx_schema.ExpNode(x=file.input(0), out=file.output(0)))
    runner = Runner(file.write(tmp_path / "a.pte"))
    with pytest.raises(ProgramError, match=message):
        runner(*inputs)
