"""Finds the FlatBuffers schemas that ExecuTorch's wheel ships, without importing ExecuTorch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

# What `MetalKernelNode.template_arg_kinds` says of an argument; the schema has it as a comment.
TEMPLATE_INT, TEMPLATE_BOOL, TEMPLATE_DTYPE = range(3)


def program_fbs() -> Path:
    """The schema of a `.pte` program (root table `Program`, file identifier `ET12`)."""
    return _find("schema/program.fbs")


def mlx_fbs() -> Path:
    """The schema of the MLX delegate's payload (root table `MLXGraph`)."""
    return _find("backends/mlx/serialization/schema.fbs")


def _find(relative: str) -> Path:
    spec = importlib.util.find_spec("executorch")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    for root in roots:
        path = Path(root) / relative
        if path.is_file():
            return path
    raise ImportError(f"executorch: expected {relative} in the package, searched {roots}")
