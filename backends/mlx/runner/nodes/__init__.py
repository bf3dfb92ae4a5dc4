"""The functions that execute MLX nodes, by family; `FUNCTIONS` has them by the node's name."""

from backends.mlx.runner.nodes import (  # noqa: F401  (importing a family registers it)
    arithmetic,
    control,
    creation,
    indexing,
    integers,
    kernels,
    layers,
    quantized,
    reductions,
    shapes,
)
from backends.mlx.runner.registry import FUNCTIONS

__all__ = ["FUNCTIONS"]
