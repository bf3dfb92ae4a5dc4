"""Nodes that make tensors."""

import numpy as np

from backends.mlx.program.testing import mlx_schema
from backends.mlx.runner.testing import check, literal


def test_creation(tmp_path):
    full = dict(shape=[literal(2), literal(3)], v=mlx_schema.FloatOrVid.from_literal(1.5))
    check(tmp_path, "FullNode", {}, np.full((2, 3), 1.5, np.float16), **full, scalar_type=5)
    steps = dict(start=literal(5), stop=literal(-4), step=literal(-3))
    check(tmp_path, "ARangeNode", {}, np.arange(5, -4, -3, np.int64), **steps, scalar_type=4)
    tri = dict(n=literal(3), m=literal(4), k=-1, scalar_type=6)
    check(tmp_path, "TriNode", {}, np.tri(3, 4, -1, np.float32), **tri)
