"""One tensor of a mapped GGUF file, and the error that everything about such files raises."""

from __future__ import annotations

import dataclasses
import math
import mmap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backends.mlx.common.errors import InputError

if TYPE_CHECKING:
    import torch

# The types that are plain numbers, by the numpy type that holds them. numpy has no bfloat16.
DENSE_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class GGUFError(InputError):
    """A file that is not a sound GGUF file. One line: file, subject, expected, found."""

    def __init__(self, path: Path, subject: str, expected: str, found: str) -> None:
        text = f"{path}: {subject}: expected {expected}, found {found}"
        super().__init__(" ".join(text.splitlines()))


@dataclasses.dataclass(frozen=True)
class GGUFTensorInfo:
    """One tensor of a file.

    `path` is the file that holds it. `shape` is in torch's order, rows first (GGUF stores the
    reverse). `ggml_type` is ggml's name of the type, "Q4_K", whether or not this project supports
    it. `offset` and `nbytes` are in bytes, the offset counted from the start of the file.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    ggml_type: str
    offset: int
    nbytes: int
    _map: mmap.mmap = dataclasses.field(repr=False, compare=False)

    @property
    def weights(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """The number of rows: the product of all dimensions but the last."""
        return math.prod(self.shape[:-1])

    @property
    def is_dense(self) -> bool:
        """Whether the elements are plain numbers, which `values` and `dense` can read."""
        return self.ggml_type in DENSE_TYPES

    def blocks(self) -> np.ndarray:
        """The bytes as they are in the file: a read-only uint8 view (rows, bytes per row)."""
        data = np.frombuffer(self._map, np.uint8, count=self.nbytes, offset=self.offset)
        return data.reshape(self.rows, self.nbytes // self.rows if self.rows else 0)

    def values(self) -> np.ndarray:
        """The elements of an F32, F16 or BF16 tensor: a read-only view of its shape.

        float32, float16, or for BF16 the bit patterns as uint16 (each the upper half of a
        float32). A copy only where the file's `general.alignment` is less than an element.

        Raises:
            GGUFError: the tensor is of another type.
        """
        if not self.is_dense:
            raise GGUFError(
                self.path,
                f"tensor {quoted(self.name)}",
                f"type {', '.join(DENSE_TYPES)}",
                self.ggml_type,
            )
        data = np.frombuffer(self._map, DENSE_TYPES[self.ggml_type], self.weights, self.offset)
        values = np.require(data, requirements="A").reshape(self.shape)
        values.flags.writeable = False
        return values

    def to_torch(self) -> torch.Tensor:
        """The tensor on the map's memory, which nothing may write to.

        Dense types: their shape, as float32, float16 or bfloat16. Others: the blocks, uint8 of
        their shape with bytes per row last: (rows, bytes) or, of experts, (experts, rows, bytes).
        """
        import torch

        with warnings.catch_warnings():
            # torch has no read-only tensors, and says so.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            data = torch.from_numpy(self.values() if self.is_dense else self.blocks())
        if not self.is_dense:
            return data.reshape(*self.shape[:-1], -1)
        return data.view(torch.bfloat16) if self.ggml_type == "BF16" else data


def quoted(name: str) -> str:
    """A name as it can stand in a one-line message, whatever a damaged file put there."""
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
