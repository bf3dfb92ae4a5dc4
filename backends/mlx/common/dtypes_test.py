"""Every library's dtypes have the same names."""

import mlx.core as mx
import numpy as np
import pytest
import torch

from backends.mlx.common.dtypes import FLOATS, INDICES, dtype_name


@pytest.mark.parametrize("name", [*FLOATS, *INDICES, "uint8"])
def test_mlx_and_torch(name):
    assert dtype_name(getattr(mx, name)) == dtype_name(getattr(torch, name)) == name


def test_numpy_and_bool():
    assert dtype_name(np.dtype("float16")) == "float16"
    assert dtype_name(mx.bool_) == dtype_name(torch.bool) == dtype_name(np.dtype(bool)) == "bool"
