"""Metal kernels on raw GGUF blocks, and the table that chooses among them."""

from pathlib import Path

from backends.mlx import metal
from backends.mlx.gguf.formats import FORMATS
from backends.mlx.gguf.kernels.call import run_experts, run_gather, run_kernel, run_linear
from backends.mlx.gguf.kernels.dispatch import (
    ROW_RANGES,
    Launch,
    expert_for_rows,
    expert_row_ranges,
    for_rows,
    launch,
)
from backends.mlx.gguf.kernels.kernel import Kernel, experts, gather, linear
from backends.mlx.gguf.kernels.operations import (
    EMBEDDING,
    EXPERTS,
    LINEAR,
    OPERATIONS,
    KernelName,
    Operation,
)

__all__ = [
    "EMBEDDING",
    "EXPERTS",
    "Kernel",
    "KernelName",
    "LINEAR",
    "Launch",
    "OPERATIONS",
    "Operation",
    "ROW_RANGES",
    "expert_for_rows",
    "expert_row_ranges",
    "experts",
    "for_rows",
    "gather",
    "launch",
    "linear",
    "run_experts",
    "run_gather",
    "run_kernel",
    "run_linear",
]

# Those that a build compiled lie beside this package, one library a type and build: types.bzl.
# What is in none of them is compiled when first called.
for _fmt in FORMATS.values():
    for _build in metal.BUILDS:
        _path = Path(__file__).parent / f"{_fmt.name.lower()}.{_build}.so"
        if _path.exists():
            metal.add_library(_path)
