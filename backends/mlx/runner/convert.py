"""Turns what callers have (mx.array, numpy, torch, int) into what slots hold (mx.array, int)."""

from __future__ import annotations

import operator
import sys

import mlx.core as mx
import numpy as np

from backends.mlx.program.dtypes import scalar_type_named
from backends.mlx.program.errors import ProgramError


def to_mx(value, what: str) -> mx.array:
    """`value` as an array of its own dtype. Raises ProgramError, naming `what`, for other things.

    Numpy has no bfloat16: pass a torch tensor or an mx.array.
    """
    if isinstance(value, mx.array):
        return value
    if isinstance(value, np.ndarray):
        # MLX would narrow float64 without a word.
        scalar_type_named(value.dtype.name, f"{what} dtype")
        return mx.array(value)
    # A torch tensor exists only where torch is loaded already.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        if value.dtype == torch.bfloat16:
            return mx.array(value.view(torch.int16).numpy()).view(mx.bfloat16)
        return to_mx(value.numpy(), what)
    raise ProgramError(what, "a tensor (mx.array, numpy or torch)", type(value).__name__)


def to_int(value, what: str) -> int:
    """`value` as a 32-bit int. Raises ProgramError, naming `what`, where it is not one."""
    try:
        number = operator.index(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError):
        raise ProgramError(what, "an int", type(value).__name__) from None
    if not -(2**31) <= number < 2**31:
        raise ProgramError(what, "a 32-bit int", number)
    return number
