"""Test support: exports a Q4_K linear through ExecuTorch's own GGUF kernels, with dynamic rows.

Run as a program, because importing ExecuTorch's GGUF patterns registers them for the whole
process, where this project's would then collide with them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch

from backends.mlx.program.testing import export

N, K = 6, 512
BLOCK_BYTES, BLOCK_WEIGHTS = 144, 256


def main(folder: Path) -> None:
    """Writes `linear.pte`, and `expected.npz` with x and x @ weight.T + bias for 1 and 5 rows."""
    os.environ["ET_MLX_EMIT_DIRECT_GGUF"] = "1"
    import executorch.backends.mlx.custom_kernel_ops.gguf.patterns  # noqa: F401
    from executorch.extension.llm.export.gguf import ExportableGGUFTensor

    torch.manual_seed(0)
    blocks = torch.randint(0, 256, (N, K // BLOCK_WEIGHTS, BLOCK_BYTES), dtype=torch.uint8)
    # Any bytes are a block but for its two half-precision scales, which must be finite.
    blocks[..., :4] = torch.tensor([0.01, 0.02], dtype=torch.half).view(torch.uint8)
    weight = ExportableGGUFTensor.from_raw(blocks.flatten(1), "q4_k", torch.float32)
    linear = torch.nn.Linear(K, N)
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    rows = torch.export.Dim("rows", min=1, max=64)
    export(folder / "linear.pte", linear, (torch.randn(5, K),), ({0: rows},))
    arrays = {}
    for count in (1, 5):
        x = torch.randn(count, K)
        product = torch.nn.functional.linear(
            x.double(), weight.dequantize(torch.float32).double(), linear.bias.double()
        )
        arrays[f"x{count}"] = x.numpy()
        arrays[f"y{count}"] = product.detach().numpy()
    np.savez(folder / "expected.npz", **arrays, blocks=blocks.flatten(1).numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
