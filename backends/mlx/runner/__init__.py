"""Runs ExecuTorch programs lowered to MLX, on machines without Metal too.

`Runner` executes one method of a `.pte` with `mlx.core`, custom Metal kernels through
`backends.mlx.metal`. Knows nothing of GGUF.
"""

from backends.mlx import overlay

# Whoever imports ExecuTorch's MLX backend after this finds it whole.
overlay.ensure()

from backends.mlx.program import Program, ProgramError  # noqa: E402
from backends.mlx.runner.runner import Runner  # noqa: E402

__all__ = ["Program", "ProgramError", "Runner"]
