"""Reads, checks and runs ExecuTorch programs lowered to MLX, on machines without Metal too.

`Program` maps a `.pte` and checks it; `Runner` executes one of its methods with `mlx.core`, custom
Metal kernels through `tools.metal`. Knows nothing of GGUF.
"""

from third_party.executorch import mlx_overlay

# Whoever imports ExecuTorch's MLX backend after this finds it whole.
mlx_overlay.ensure()

from backends.mlx.runner.errors import ProgramError  # noqa: E402
from backends.mlx.runner.program import Program  # noqa: E402
from backends.mlx.runner.runner import Runner  # noqa: E402

__all__ = ["Program", "ProgramError", "Runner"]
