"""Metal kernels on raw GGUF blocks, and the table that chooses among them."""

from pathlib import Path

from backends.mlx import metal
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

# Built by the metal_library rule beside this package; without Bazel there is none, and
# kernels are compiled when first called.
for _prebuilt in sorted(Path(__file__).parent.glob("metal.*.so")):
    metal.add_library(_prebuilt)
