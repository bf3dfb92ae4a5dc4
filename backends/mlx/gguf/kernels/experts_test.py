"""Rows with the matrices of their experts: checked, held to the accuracy rule, safe for every
index."""

from __future__ import annotations

import itertools

import mlx.core as mx
import numpy as np
import pytest
from allpairspy import AllPairs

from backends.mlx import metal
from backends.mlx.common.dtypes import FLOATS
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.kernels import testing, units

PARAMETERS = (
    tuple(formats.FORMATS),
    kernels.EXPERTS,
    *testing.EXPERT_PARAMETERS,
    testing.ACTIVATIONS,
)
TYPES = pytest.mark.parametrize("type_name", formats.FORMATS)
EXPERTS = pytest.mark.parametrize("operation", kernels.EXPERTS)


def compiled_ahead(type_name, operation, experts, outputs, blocks, rows, choice, *rest) -> tuple:
    """The case, with dtypes for which its kernel is built: compiling another would take longer
    than running it."""
    fmt = formats.get(type_name)
    dtype, index_dtype, kind = rest
    if np.prod(rows) < metal.CONSTANT_BELOW and not units.has_few_indices(fmt, dtype):
        dtype = "float32"
    built = units.index_dtypes(fmt, dtype)
    if index_dtype not in built:
        (index_dtype,) = built
    return (type_name, operation, experts, outputs, blocks, rows, choice, dtype, index_dtype, kind)


PAIRS = [compiled_ahead(*case) for case in AllPairs(PARAMETERS)]


@pytest.mark.parametrize("case", PAIRS, ids=lambda c: "-".join(map(str, c)))
def test_pairs_of_parameters(case):
    type_name, operation, experts, outputs, blocks, rows, choice, dtype, index_dtype, kind = case
    ids = testing.expert_indices(choice, experts, rows)
    with metal.checked():
        testing.check_experts(
            type_name, experts, outputs, blocks, ids, rows[1], dtype, index_dtype, kind, operation
        )


# More rows of one expert than two tiles, between rows of others.
@EXPERTS
@TYPES
def test_more_rows_than_tiles(type_name, operation):
    ids = np.full(80, 2)
    ids[[0, 31, 40, 64]] = [1, 4, -1, 5]
    with metal.checked():
        testing.check_experts(
            type_name, 5, 67, 3, ids, 4, "float32", kind="offset", operation=operation
        )


@EXPERTS
@TYPES
def test_index_outside_gives_zeros(type_name, operation):
    ids = np.array([-1, 0, 4, 5, -(2**31), 2**31 - 1, 2**40 + 1])
    with metal.checked():
        testing.check_experts(type_name, 5, 67, 1, ids, 1, "float32", operation=operation)


@EXPERTS
def test_shapes_of_a_layer(operation):
    """Tokens with 2 experts each, as gate and up projection have them, and as down has."""
    fmt = formats.get("Q4_K")
    blocks = testing.expert_weights("Q4_K", 5, 3, 256)[0]
    ids = mx.array(testing.expert_indices("mixed", 5, (9, 2)))
    x = testing.activations("zero-mean", (9, 1, 1, 256), "float32")
    each = mx.repeat(x, 2, axis=1)
    with metal.checked():
        shared = kernels.run_experts(fmt, x, blocks, ids, operation)
        own = kernels.run_experts(fmt, each, blocks, ids, operation)
    assert shared.shape == (9, 2, 3)
    assert mx.array_equal(shared, own)


@EXPERTS
@pytest.mark.parametrize("dtype", FLOATS)
def test_x_may_start_at_any_element(operation, dtype):
    fmt = formats.get("Q4_K")
    blocks = testing.expert_weights("Q4_K", 5, 3, 256)[0]
    ids = mx.array(testing.expert_indices("mixed", 5, (9, 1)))
    view = testing.activations("zero-mean", (9 * 256 + 1,), dtype)[1:].reshape(9, 256)
    mx.eval(view)
    copy = mx.array(np.array(view.astype(mx.float32))).astype(view.dtype)
    with metal.checked():
        found = kernels.run_experts(fmt, view, blocks, ids, operation)
        expected = kernels.run_experts(fmt, copy, blocks, ids, operation)
    assert mx.array_equal(found, expected)


def test_one_expert_is_a_linear():
    fmt = formats.get("Q4_K")
    blocks = testing.weight("Q4_K", 67, 256)[0]
    x = testing.activations("zero-mean", (70, 256), "float32")
    with metal.checked():
        found = kernels.run_experts(fmt, x, blocks[None], mx.zeros(70, mx.int64), "gather_qmm")
        expected = kernels.run_linear(fmt, x, blocks, operation="qmm")
    assert mx.array_equal(found, expected)


def test_output_type_may_differ_from_input():
    fmt = formats.get("Q4_K")
    blocks, exact, reach = testing.expert_weights("Q4_K", 5, 3, 256)
    ids = testing.expert_indices("mixed", 5, (9, 1))
    x = testing.activations("zero-mean", (9, 256), "bfloat16")
    for operation in kernels.EXPERTS:
        out = kernels.run_experts(fmt, x, blocks, mx.array(ids), operation, mx.float32)
        assert out.dtype == mx.float32
        product, bound = testing.experts_product(
            exact, reach, testing.as_float64(x), ids.reshape(-1), "float32"
        )
        testing.check_outputs(out.reshape(9, 3), product, bound)


def bytes_read(operation: str, ids: list[int]) -> int:
    """Of 5 experts' weights, by rows with experts `ids`."""
    blocks = testing.expert_weights("Q4_K", 5, 64, 256)[0]
    x = testing.activations("zero-mean", (len(ids), 256), "float32")
    with metal.checked() as report:
        kernels.run_experts(formats.get("Q4_K"), x, blocks, mx.array(ids), operation)
    return report.bytes_read.get("weight", 0)


def test_weights_are_decoded_once_a_tile():
    one = bytes_read("gather_qmm", [3])
    assert one >= testing.weight("Q4_K", 64, 256)[0].nbytes
    assert bytes_read("gather_qmm", [3] * 32) == one
    assert bytes_read("gather_qmm", [3] * 33) == 2 * one
    assert bytes_read("gather_qmm", [3] * 32 + [0, 4]) == 3 * one


@EXPERTS
def test_only_experts_with_rows_are_read(operation):
    assert bytes_read(operation, [-1, 5]) == 0
    assert bytes_read(operation, [2, -1]) == bytes_read(operation, [2])


def test_indices_select_the_kernel():
    selected = [kernels.expert_for_rows(rows, experts=128) for rows in (1, 8, 4096)]
    assert selected == ["gather_qmv", "gather_qmv", "gather_qmm"]
    with pytest.raises(ValueError, match="indices: expected at least 1, found 0"):
        kernels.expert_for_rows(0, experts=128)


def test_row_ranges_leave_no_gap():
    for experts in (1, 128):
        ranges = kernels.expert_row_ranges(experts)
        assert ranges[0][1] == 1 and ranges[-1][2] is None
        for (_, _, last), (_, first, _) in itertools.pairwise(ranges):
            assert first == last + 1


@pytest.mark.parametrize(
    "shape, message",
    [((3, 512), "expected 256 columns, .* found 512"), ((2, 256), "multiple of the 2 rows")],
)
def test_wrong_shapes_are_refused(shape, message):
    blocks = testing.expert_weights("Q4_K", 5, 3, 256)[0]
    with pytest.raises(ValueError, match=message):
        kernels.run_experts(formats.get("Q4_K"), mx.zeros(shape), blocks, mx.zeros(3, mx.int64))
