"""Metal kernels on raw GGUF blocks, and the table that chooses among them."""

from .call import run_gather, run_linear
from .dispatch import LINEAR, OPERATIONS, Launch, for_rows, launch, row_ranges
from .library import FLOATS, INDICES, Kernel, gather, linear

__all__ = [
    "FLOATS",
    "INDICES",
    "Kernel",
    "LINEAR",
    "Launch",
    "OPERATIONS",
    "for_rows",
    "gather",
    "launch",
    "linear",
    "row_ranges",
    "run_gather",
    "run_linear",
]
