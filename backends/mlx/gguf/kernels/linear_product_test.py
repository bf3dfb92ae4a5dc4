"""The full product of outputs, super-blocks, rows, dtypes and biases, checked. Run by hand."""

from __future__ import annotations

import itertools

import pytest

from backends.mlx import metal
from backends.mlx.gguf import formats
from backends.mlx.gguf.kernels import testing

CASES = tuple(itertools.product(*testing.LINEAR_PARAMETERS))


# One test a type: a shard compiles the kernels of its types only.
@pytest.mark.manual
@pytest.mark.parametrize("type_name", formats.FORMATS)
def test_product(type_name):
    wrong = []
    for case in CASES:
        try:
            with metal.checked():
                testing.check_linear(type_name, *case)
        except (AssertionError, metal.CheckError, metal.KernelError) as error:
            wrong.append(f"{case}: {str(error).splitlines()[0]}")
    assert not wrong, f"{len(wrong)} of {len(CASES)}: " + "; ".join(wrong[:5])
