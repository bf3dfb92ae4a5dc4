"""The full product of experts_test's parameters, checked. Run by hand."""

from __future__ import annotations

import itertools

import pytest

from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.kernels import testing

CASES = tuple(itertools.product(*testing.EXPERT_PARAMETERS))


# One test a type and operation: a shard compiles the kernels of its own only.
@pytest.mark.manual
@pytest.mark.parametrize("operation", kernels.EXPERTS)
@pytest.mark.parametrize("type_name", formats.FORMATS)
def test_product(type_name, operation):
    wrong = []
    for case in CASES:
        experts, outputs, blocks, rows, choice, dtype, index_dtype = case
        ids = testing.expert_indices(choice, experts, rows)
        try:
            with metal.checked():
                testing.check_experts(
                    type_name,
                    experts,
                    outputs,
                    blocks,
                    ids,
                    rows[1],
                    dtype,
                    index_dtype,
                    operation=operation,
                )
        except (AssertionError, metal.CheckError, metal.KernelError) as error:
            wrong.append(f"{case}: {str(error).splitlines()[0]}")
    assert not wrong, f"{len(wrong)} of {len(CASES)}: " + "; ".join(wrong[:5])
