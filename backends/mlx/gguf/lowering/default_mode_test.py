"""With nothing said at run time, an export takes the value of the build flag.

Bazel passes the flag's value to this test beside the file that the library reads; plain pytest,
which has no flag, expects the default.
"""

import os

import torch

from backends.mlx.gguf.lowering import export_module, mode
from backends.mlx.gguf.lowering.testing import Exported, embedding, linear, quantize, random

EXPECTED = os.environ.get("MLX_GGUF_EXPECTED_MODE", "fused")


def test_environment_is_clean():
    assert mode.ENVIRONMENT_VARIABLE not in os.environ


def test_linear():
    module = linear(quantize("Q4_K", 5, 256), "Q4_K", torch.float32)
    exported = Exported(export_module(module, (random((1, 256), torch.float32),)))
    expected = {"fused": {"MetalKernelNode": 1}, "repack": {"QuantizedMatmulNode": 1}}
    assert exported.nodes() == expected[EXPECTED]


def test_embedding():
    module = embedding(quantize("Q4_K", 67, 256), "Q4_K", torch.float32)
    exported = Exported(export_module(module, (torch.tensor([1, 2]),)))
    expected = {
        "fused": {"MetalKernelNode": 1},
        "repack": {"TakeNode": 3, "DequantizeNode": 1},
    }
    assert exported.nodes() == expected[EXPECTED]
