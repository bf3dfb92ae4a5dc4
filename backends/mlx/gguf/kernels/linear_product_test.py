"""The full product of outputs, super-blocks, rows and dtypes, checked. Run by hand."""

from __future__ import annotations

import itertools

import pytest

from backends.mlx.gguf import formats
from backends.mlx.gguf.kernels import cases
from tools import metal

PRODUCT = tuple(
    itertools.product(formats.FORMATS, cases.OUTPUTS, cases.SUPER_BLOCKS, cases.ROWS, cases.DTYPES)
)


@pytest.mark.manual
@pytest.mark.parametrize("case", PRODUCT, ids=lambda c: "-".join(map(str, c)))
def test_product(case):
    with metal.checked():
        cases.check_linear(*case)
