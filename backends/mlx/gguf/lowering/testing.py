"""Helpers of the lowering tests: blocks, modules that hold them, and the accuracy rule."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import cached_property
from unittest import mock

import mlx.core as mx
import numpy as np
import torch
from torch import nn

from backends.mlx import metal
from backends.mlx.common.dtypes import FLOATS, dtype_name
from backends.mlx.gguf import formats
from backends.mlx.gguf.formats import testing as sample
from backends.mlx.gguf.lowering import GGUFTensor
from backends.mlx.program import Program
from backends.mlx.runner import Runner

DTYPES = {name: getattr(torch, name) for name in FLOATS}


def quantize(ggml_type: str, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Blocks, uint8 (rows, bytes per row), of arbitrary quants and tame scales."""
    return torch.from_numpy(sample.blocks(formats.get(ggml_type), rows, columns, seed))


def mergeable_q6_k(rows: int, columns: int) -> torch.Tensor:
    """Q6_K blocks in which sub-blocks agree two by two, as MLX's groups of 32 need."""
    blocks = quantize("Q6_K", rows, columns)
    scales = blocks.reshape(-1, 210)[:, 192:208]
    scales[:, 1::2] = scales[:, 0::2]
    return blocks


def linear(
    blocks: torch.Tensor,
    ggml_type: str,
    dtype: torch.dtype,
    bias: torch.Tensor | None = None,
) -> nn.Linear:
    """An `nn.Linear` of `blocks`; `bias` is (rows,) or None."""
    weight = GGUFTensor.from_blocks(blocks, ggml_type, dtype)
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    module.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        module.bias = nn.Parameter(bias, requires_grad=False)
    return module.eval()


def embedding(blocks: torch.Tensor, ggml_type: str, dtype: torch.dtype) -> nn.Embedding:
    """An `nn.Embedding` whose table is `blocks`."""
    weight = GGUFTensor.from_blocks(blocks, ggml_type, dtype)
    module = nn.Embedding(*weight.shape, device="meta")
    module.weight = nn.Parameter(weight, requires_grad=False)
    return module.eval()


def random(shape: Sequence[int], dtype: torch.dtype, seed: int = 1) -> torch.Tensor:
    """Normally distributed values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def exact_weights(ggml_type: str, blocks: torch.Tensor) -> np.ndarray:
    """The weights, float64 (rows, columns)."""
    return formats.dequantize(formats.get(ggml_type), blocks.numpy()).astype(np.float64)


def assert_product(
    found: mx.array,
    ggml_type: str,
    blocks: torch.Tensor,
    x: torch.Tensor,
    dtype: torch.dtype,
    bias: torch.Tensor | None = None,
    weights: np.ndarray | None = None,
) -> None:
    """Checks `found`, of `dtype`, against the float64 product, by `formats.linear_bound`.

    weights: float64 (rows, columns), by default the exact ones.
    """
    if weights is None:
        weights = exact_weights(ggml_type, blocks)
    wide = x.double().numpy()
    expected = wide @ weights.T
    if bias is not None:
        expected = expected + bias.double().numpy()
    reach = formats.largest_magnitude(formats.get(ggml_type), blocks.numpy())
    allowed = formats.linear_bound(wide, reach, expected, dtype_name(dtype))
    assert_dtype(found, dtype)
    assert found.shape == expected.shape
    error = np.abs(to_numpy(found) - expected)
    assert (error <= allowed).all(), f"worst error {np.max(error / allowed)} of what is allowed"


def assert_expert_product(
    found: mx.array,
    ggml_type: str,
    blocks: torch.Tensor,
    x: torch.Tensor,
    indices: torch.Tensor,
    dtype: torch.dtype,
    weights: np.ndarray | None = None,
) -> None:
    """Checks `found` of R rows in any shape: rows of x times the matrices of their experts.

    blocks: (experts, rows, bytes per row). x: R rows, or a divisor of R, each then repeated.
    indices: R experts. weights: float64 (experts, rows, columns), by default the exact ones.
    """
    experts = indices.flatten()
    lines = x.reshape(-1, max(x.shape[-2:]))
    lines = lines.repeat_interleave(len(experts) // len(lines), dim=0)
    found = found.reshape(len(experts), -1)
    for expert in experts.unique().tolist():
        (which,) = (experts == expert).nonzero(as_tuple=True)
        rows = found[mx.array(which.numpy())]
        exact = None if weights is None else weights[expert]
        assert_product(rows, ggml_type, blocks[expert], lines[which], dtype, weights=exact)


def assert_dtype(found: mx.array, dtype: torch.dtype) -> None:
    assert dtype_name(found.dtype) == dtype_name(dtype)


def to_numpy(values: mx.array) -> np.ndarray:
    """`values` as float64."""
    return np.array(values.astype(mx.float32)).astype(np.float64)


class Exported:
    """A `.pte`: `program` for what it holds, a call for what it computes."""

    def __init__(self, pte: bytes):
        with tempfile.NamedTemporaryFile(suffix=".pte", delete=False) as file:
            file.write(pte)
        self.program = Program(file.name)
        # It stays mapped.
        os.unlink(file.name)

    def __call__(self, *inputs: torch.Tensor) -> mx.array:
        (out,) = self.run(*inputs)
        return out

    def run(self, *inputs: torch.Tensor) -> list[mx.array]:
        """All outputs of the program."""
        return self._runner(*inputs)

    @cached_property
    def _runner(self) -> Runner:
        return Runner(self.program)

    def launched(self, *inputs: torch.Tensor) -> list[str]:
        """The names of the kernels that a call runs, in order."""
        names, metal_kernel = [], metal.metal_kernel

        def recording(**arguments):
            kernel = metal_kernel(**arguments)

            def launch(**call):
                names.append(arguments["name"])
                return kernel(**call)

            return launch

        with mock.patch("backends.mlx.metal.metal_kernel", recording):
            Runner(self.program)(*inputs)
        return names

    def kernels(self) -> list[str]:
        """The names of the kernels, sorted."""
        return sorted(node.name for node in self.program.kernels())

    def nodes(self) -> dict[str, int]:
        """How many nodes of each type there are."""
        return dict(self.program.node_counts())
