"""Runs a kernel of mlx_gguf that Bazel compiled, called from another workspace."""

import os
from pathlib import Path

import mlx.core as mx
import numpy
from app.case import Case

from backends.mlx.gguf import formats, kernels

COMPILED = Path(kernels.__file__).parent


def test_a_program_has_no_kernels_for_the_checker():
    assert [path.name for path in COMPILED.glob("*.so")] == ["q4_k.fast.so"]


def test_mat_vec():
    case, fmt = Case(67, 512), formats.get("Q4_K")
    out = numpy.asarray(kernels.run_linear(fmt, mx.array(case.x), case.blocks))

    reach = formats.largest_magnitude(fmt, case.blocks)
    bound = formats.linear_bound(case.x, reach, case.exact, "float32")
    assert (abs(out - case.exact) <= bound).all()
    # The library was used: nothing was compiled just in time.
    assert not list(Path(os.environ["TEST_TMPDIR"]).rglob("*.so"))
