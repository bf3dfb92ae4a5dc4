"""The harness gives tests the same callable on every platform."""

import sys

import numpy as np
import pytest

from backends.mlx.program.testing import GraphFile, mlx_schema
from backends.mlx.runner import Runner
from backends.mlx.runner.harness import load


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_load(tmp_path, dtype):
    x = np.array([1, 2, 3], dtype)
    file = GraphFile(inputs=[x], outputs=[x])
    file.chains[0].append(mlx_schema.AddNode(a=file.input(0), b=file.input(0), out=file.output(0)))
    loaded = load(file.write(tmp_path / "a.pte"))
    (out,) = loaded(x)
    np.testing.assert_array_equal(np.array(out), 2 * x)
    if sys.platform != "darwin":
        assert isinstance(loaded, Runner)
