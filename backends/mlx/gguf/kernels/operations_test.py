"""The table of operations fits the tuning, the files and the names of kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.kernels import KernelName, dispatch

HERE = Path(kernels.__file__).parent
OPERATIONS = pytest.mark.parametrize("operation", kernels.OPERATIONS.values(), ids=lambda o: o.name)


@OPERATIONS
def test_launches_give_the_template_arguments(operation):
    for fmt in formats.FORMATS.values():
        for _, launch in dispatch.launches(fmt, operation.name):
            assert tuple(name for name, _ in launch.tuning) == operation.tuning


def test_every_source_is_an_operations():
    files = {operation.file for operation in kernels.OPERATIONS.values()}
    assert {path.stem for path in (HERE / "ops").glob("*.metal")} == files


@OPERATIONS
def test_names_are_taken_apart(operation):
    for bias in {False, operation.may_have_bias}:
        name = KernelName("Q4_K", operation.name, bias)
        assert KernelName.parse(str(name)) == name


@pytest.mark.parametrize("name", ["steel_gemm", "gguf_q4_k_steel", "gguf_q9_k_qmv", "q4_k_qmv"])
def test_other_names_are_none(name):
    assert KernelName.parse(name) is None


def test_unknown_operation_is_refused():
    fmt = formats.get("Q4_K")
    with pytest.raises(ValueError, match="expected one of qmv, .* found 'gather_qmv'"):
        kernels.linear(fmt, "gather_qmv", "float32", "float32", 8)
    with pytest.raises(ValueError, match="InT: expected one of float32, .* found 'int32'"):
        kernels.linear(fmt, "qmv", "int32", "float32", 8)
