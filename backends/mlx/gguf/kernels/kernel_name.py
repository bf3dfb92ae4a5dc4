"""What the name of a kernel says: the inverse of how `library.py` makes it."""

from __future__ import annotations

from typing import NamedTuple

from backends.mlx.gguf.formats import FORMATS

_BIAS = "_bias"


class KernelName(NamedTuple):
    """The GGUF type, the operation ("qmv", "gather", ...) and whether a bias is added."""

    ggml_type: str
    operation: str
    bias: bool


def parse(name: str) -> KernelName | None:
    """Takes `gguf_TYPE_OPERATION[_bias]` apart; None for another program's kernels."""
    for ggml_type in FORMATS:
        prefix = f"gguf_{ggml_type.lower()}_"
        if name.startswith(prefix):
            operation = name.removeprefix(prefix)
            return KernelName(ggml_type, operation.removesuffix(_BIAS), operation.endswith(_BIAS))
    return None
