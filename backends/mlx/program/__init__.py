"""Reads and verifies ExecuTorch programs (`.pte`) lowered to MLX. Runs nothing.

`Program` maps a file and checks all of it: header, segments, named data, methods, MLX graphs.
"""

from backends.mlx.program.errors import ProgramError
from backends.mlx.program.program import Program

__all__ = ["Program", "ProgramError"]
