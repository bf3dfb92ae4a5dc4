"""Names of element types, which MLX, torch and numpy agree on but for how they print them."""

from __future__ import annotations

import functools

# Types of activations, of outputs and of biases.
FLOATS = ("float32", "float16", "bfloat16")
# Types of the indices of an embedding and of experts.
INDICES = ("int32", "int64")


@functools.cache
def dtype_name(dtype: object) -> str:
    """The name of a dtype of MLX, torch or numpy: "bfloat16", "bool", "int64"."""
    return str(dtype).rpartition(".")[2].rstrip("_")
