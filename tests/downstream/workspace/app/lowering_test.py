"""Lowers a GGUF linear through mlx_gguf, in the mode that the build flag says."""

import os

import numpy
import torch
from app.case import Case

from backends.mlx.gguf.lowering import GGUFTensor, export_module
from backends.mlx.program import Program
from backends.mlx.runner import Runner

# From select() on the flag, as another workspace's targets may do.
MODE = os.environ["APP_MODE"]
NODES = {"fused": "MetalKernelNode", "repack": "QuantizedMatmulNode"}


def test_linear(tmp_path):
    case = Case(64, 256)
    module = torch.nn.Linear(256, 64, bias=False, device="meta")
    weight = GGUFTensor.from_blocks(torch.from_numpy(case.blocks), "Q4_K", dtype=torch.float32)
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    path = export_module(module, (torch.from_numpy(case.x),), tmp_path / "linear.pte")

    counts = Program(path).node_counts()
    assert {mode for mode, node in NODES.items() if counts[node]} == {MODE}
    (out,) = Runner(path)(case.x)
    numpy.testing.assert_allclose(numpy.asarray(out), case.exact, atol=1e-3)
