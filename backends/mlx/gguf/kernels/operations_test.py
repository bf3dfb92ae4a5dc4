"""The table of operations fits the tuning, the files and the names; wrong tiles are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest

from backends.mlx import metal
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


# Each would read or write what is not there, or compute rows from the wrong ones.
@pytest.mark.parametrize(
    "operation, changed, message",
    [
        ("qmv", {"X_ROWS": 3}, "qmv: one or two rows of x"),
        ("qmv_2", {"ROWS": 17, "SPLIT_K": True}, "a lane adds up each of the sums"),
        ("qmv_batch", {"TILES": 32}, "qmv_batch: Apple GPUs have 32 KiB"),
        ("qmm", {"OUTPUTS": 32}, "qmm: a thread stages 16 weights"),
        ("qmm", {"X_ROWS": 64}, "qmm: a thread stages 8 activations"),
        ("qmm", {"SIMDGROUPS": 3, "OUTPUTS": 48, "X_ROWS": 24}, "qmm: simdgroups stand two by"),
    ],
)
def test_tiles_that_a_kernel_cannot_have_do_not_compile(operation, changed, message):
    fmt = formats.get("Q8_0")
    kernel = kernels.linear(fmt, operation, "float32", "float32", 8)
    template = tuple((name, changed.get(name, value)) for name, value in kernel.template)
    x, weight = mx.zeros((1, 32)), mx.zeros((8, fmt.block_bytes), mx.uint8)
    with pytest.raises(metal.CompileError, match=message):
        kernels.run_kernel(replace(kernel, template=template), [x, weight], (1, 8), 8, 1)


def test_weights_of_a_thread_of_gather():
    fmt = formats.get("Q8_0")
    kernel = kernels.gather(fmt, "float32")
    template = tuple((name, 8 if name == "SHARE" else value) for name, value in kernel.template)
    inputs = [mx.zeros((8, fmt.block_bytes), mx.uint8), mx.zeros(1, mx.int64)]
    with pytest.raises(metal.CompileError, match="gather: a thread decodes 16 weights"):
        kernels.run_kernel(replace(kernel, template=template), inputs, (1, 32), 32, 1)
