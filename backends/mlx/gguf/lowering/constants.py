"""Constants written to the `.pte` from where they are, instead of from a copy in memory.

The weights of a model are views of its mapped file. ExecuTorch's store of named data would hold
the bytes of each as one more object until all is written; it also takes data that can write
itself, which a tensor can.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from unittest import mock

import torch
from executorch.exir._serialize import _named_data_store
from executorch.exir._serialize._cord import FileBackedData


class TensorData(FileBackedData):
    """The bytes of a contiguous tensor on the CPU, read when they are needed."""

    def __init__(self, tensor: torch.Tensor):
        # Of the base class only the interface: there is no file of its own.
        self._bytes = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
        self._sha256: bytes | None = None

    def __len__(self) -> int:
        return self._bytes.nbytes

    def prefix(self, size: int) -> bytes:
        return bytes(self._bytes[:size])

    def sha256(self) -> bytes:
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(self._bytes).digest()
        return self._sha256

    def to_bytes(self) -> bytes:
        return bytes(self._bytes)

    def write_to_file(self, outfile: io.BufferedIOBase) -> None:
        outfile.write(self._bytes)

    def close(self) -> None:
        """Nothing to close."""


@contextlib.contextmanager
def without_copies() -> Iterator[None]:
    """Within it, tensors added to a store of named data are not copied."""
    copy = _named_data_store._tensor_to_bytes

    def keep(tensor: torch.Tensor) -> bytes | TensorData:
        if tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.numel():
            return TensorData(tensor)
        return copy(tensor)

    with mock.patch.object(_named_data_store, "_tensor_to_bytes", keep):
        yield
