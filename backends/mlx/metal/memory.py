"""The memory of arrays as a kernel sees it: where it is, and new memory for outputs.

Nothing is copied: kernels read and write the memory of mx.arrays and numpy arrays in place.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from backends.mlx.common.dtypes import dtype_name


class _PyBuffer(ctypes.Structure):
    """Py_buffer of CPython's stable interface."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = [ctypes.POINTER(_PyBuffer)]
_release_buffer.restype = None
_PYBUF_STRIDES = 0x18

# Every bit is set, which is NaN in every float type: what a kernel leaves unwritten must not look
# like a result.
_POISON = 0xFF
_SMALL = np.full(1 << 16, _POISON, np.uint8)


def address(array: mx.array | np.ndarray) -> int:
    """Where the first element of an evaluated array is. Valid while the array lives."""
    # numpy's and MLX's own ways cost several times as much, and MLX has none for bfloat16.
    view = _PyBuffer()
    _get_buffer(array, view, _PYBUF_STRIDES)
    found = view.buf
    _release_buffer(view)
    return found or 0


def evaluated(arrays: Sequence[mx.array | np.ndarray], contiguous: bool) -> list:
    """The arrays with their values computed; with `contiguous`, in row-major order.

    Copies only to reorder.
    """
    mx.eval([array for array in arrays if isinstance(array, mx.array)])
    if not contiguous:
        return list(arrays)
    return [a if memoryview(a).c_contiguous else _reordered(a) for a in arrays]


def _reordered(array: mx.array | np.ndarray) -> mx.array | np.ndarray:
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(array)
    array = mx.contiguous(array)
    mx.eval(array)
    return array


def extent(array: mx.array | np.ndarray) -> int:
    """Bytes from an array's first element to the end of its last."""
    view = memoryview(array)
    if view.c_contiguous:
        return view.nbytes
    assert view.shape is not None and view.strides is not None  # of an array, never
    spans = [(n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)]
    return sum(spans) + view.itemsize


def output(shape: tuple[int, ...], dtype: mx.Dtype, init_value: float | None) -> mx.array:
    """Memory of an output, with uint16 in the place of bfloat16; see `as_dtype`."""
    if init_value is not None:
        filled = mx.full(shape, init_value, dtype=dtype)
        if dtype == mx.bfloat16:
            filled = filled.view(mx.uint16)
        return mx.array(np.array(filled))
    storage = _storage(dtype)
    count = 1
    for n in shape:
        count *= n
    size = count * storage.itemsize
    source = _SMALL[:size] if size <= _SMALL.size else np.full(size, _POISON, np.uint8)
    return mx.array(source.view(storage).reshape(shape))


def as_dtype(array: mx.array, dtype: mx.Dtype) -> mx.array:
    """An `output` as an array of its own dtype."""
    return array.view(dtype) if dtype == mx.bfloat16 else array


@functools.cache
def _storage(dtype: mx.Dtype) -> np.dtype:
    name = dtype_name(dtype)
    return np.dtype("uint16" if name == "bfloat16" else name)


@functools.lru_cache(maxsize=1024)
def ints(values: tuple[int, ...], type_: type[ctypes.c_int32 | ctypes.c_int64]) -> ctypes.Array:
    """`values` as a C array of `type_`, such as ctypes.c_int32."""
    return (type_ * max(len(values), 1))(*values)
