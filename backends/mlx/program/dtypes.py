"""ExecuTorch's ScalarType codes and the MLX and numpy types they name.

Codes: `executorch/schema/scalar_type.fbs`. The set is the one ExecuTorch's MLX runtime accepts.
"""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from backends.mlx.program.errors import ProgramError


@dataclass(frozen=True)
class ScalarType:
    """One element type.

    Attributes:
      name: as `backends.mlx.common.dtypes` spells it, e.g. `bfloat16`, `bool`.
      mlx: the `mx.Dtype`.
      storage: the numpy type of the same size and bits; uint16 for bfloat16, which numpy lacks.
    """

    name: str
    mlx: mx.Dtype
    storage: np.dtype

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.storage.itemsize


def _scalar(name: str, storage: str | None = None) -> ScalarType:
    mlx = mx.bool_ if name == "bool" else getattr(mx, name)
    return ScalarType(name, mlx, np.dtype(storage or name))


SCALAR_TYPES = {
    0: _scalar("uint8"),
    1: _scalar("int8"),
    2: _scalar("int16"),
    3: _scalar("int32"),
    4: _scalar("int64"),
    5: _scalar("float16"),
    6: _scalar("float32"),
    11: _scalar("bool"),
    15: _scalar("bfloat16", "uint16"),
    28: _scalar("uint32"),
}


def scalar_type(code: int, what: str) -> ScalarType:
    """The type that `code` names. Raises ProgramError, naming `what`, for any other code."""
    try:
        return SCALAR_TYPES[code]
    except KeyError:
        known = ", ".join(f"{code} {type_.name}" for code, type_ in SCALAR_TYPES.items())
        raise ProgramError(what, f"a ScalarType of {known}", code) from None


def scalar_type_named(name: str, what: str) -> ScalarType:
    """The type called `name`. Raises ProgramError, naming `what`, for any other name."""
    for type_ in SCALAR_TYPES.values():
        if type_.name == name:
            return type_
    known = ", ".join(type_.name for type_ in SCALAR_TYPES.values())
    raise ProgramError(what, f"one of {known}", name)
