"""Every linear kernel, checked and held to the accuracy rule, over pairs of parameters."""

from __future__ import annotations

import itertools

import mlx.core as mx
import numpy as np
import pytest
from allpairspy import AllPairs

from backends.mlx import metal
from backends.mlx.common.dtypes import FLOATS
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.kernels import dispatch, testing, units

PARAMETERS = (tuple(formats.FORMATS), *testing.LINEAR_PARAMETERS, testing.ACTIVATIONS)
TYPES = pytest.mark.parametrize("type_name", formats.FORMATS)
COMMON = pytest.mark.parametrize(
    "type_name", [fmt.name for fmt in formats.FORMATS.values() if dispatch.is_common(fmt)]
)
LINEAR = pytest.mark.parametrize("operation", kernels.LINEAR)


def compiled_ahead(type_name, outputs, super_blocks, rows, dtype, bias, kind) -> tuple:
    """The case, without its bias where that kernel is not built: compiling it would take longer
    than running it. linear_product_test has all."""
    bias_dtype = testing.bias_dtype(bias, dtype)
    if not units.is_built(formats.get(type_name), dtype, bias_dtype, outputs):
        bias = "none"
    return type_name, outputs, super_blocks, rows, dtype, bias, kind


PAIRS = [compiled_ahead(*case) for case in AllPairs(PARAMETERS)]


@pytest.mark.parametrize("case", PAIRS, ids=lambda c: "-".join(map(str, c)))
def test_pairs_of_parameters(case):
    with metal.checked():
        testing.check_linear(*case)


# Each operation at its own edges, whatever number of rows the table would send it.
@LINEAR
@TYPES
@pytest.mark.parametrize(
    "rows, outputs, bias", [(1, 1, "none"), (2, 3, "none"), (9, 67, "same"), (33, 65, "same")]
)
def test_operation_on_any_rows(type_name, operation, rows, outputs, bias):
    with metal.checked():
        testing.check_linear(
            type_name, outputs, 3, rows, "float32", bias, "offset", operation=operation
        )


@TYPES
@LINEAR
def test_activations_beyond_half(type_name, operation):
    fmt = formats.get(type_name)
    blocks, exact, reach = testing.weight(type_name, 5, 256)
    x = mx.full((3, 256), 1.0e6, mx.bfloat16)
    with metal.checked():
        out = kernels.run_linear(fmt, x, blocks, operation=operation)
    product = testing.as_float64(x) @ exact.T
    error = np.abs(testing.as_float64(out) - product)
    assert (error <= formats.linear_bound(testing.as_float64(x), reach, product, "bfloat16")).all()
    assert np.abs(product).max() > 65504


@TYPES
@LINEAR
@pytest.mark.parametrize("dtype", FLOATS)
def test_x_may_start_at_any_element(type_name, operation, dtype):
    fmt = formats.get(type_name)
    blocks = testing.weight(type_name, 5, 256)[0]
    whole = testing.activations("zero-mean", (3 * 256 + 1,), dtype)
    view = whole[1:].reshape(3, 256)
    mx.eval(view)
    copy = mx.array(np.array(view.astype(mx.float32))).astype(view.dtype)
    with metal.checked():
        found = kernels.run_linear(fmt, view, blocks, operation=operation)
        expected = kernels.run_linear(fmt, copy, blocks, operation=operation)
    assert mx.array_equal(found, expected)


@TYPES
def test_leading_dimensions_are_rows(type_name):
    fmt = formats.get(type_name)
    blocks = testing.weight(type_name, 5, 256)[0]
    x = testing.activations("zero-mean", (2, 3, 4, 256), "float32")
    with metal.checked():
        found = kernels.run_linear(fmt, x, blocks)
        expected = kernels.run_linear(fmt, x.reshape(24, 256), blocks)
        vector = kernels.run_linear(fmt, x[0, 0, 0], blocks)
    assert mx.array_equal(found.reshape(24, 5), expected)
    assert vector.shape == (5,)


@COMMON
def test_output_type_may_differ_from_input(type_name):
    fmt = formats.get(type_name)
    blocks, exact, reach = testing.weight(type_name, 5, 256)
    x = testing.activations("zero-mean", (1, 256), "bfloat16")
    out = kernels.run_linear(fmt, x, blocks, out_dtype=mx.float32)
    assert out.dtype == mx.float32
    x64 = testing.as_float64(x)
    error = np.abs(testing.as_float64(out) - x64 @ exact.T)
    assert (error <= formats.linear_bound(x64, reach, x64 @ exact.T, "float32")).all()


def test_rows_select_the_kernel():
    expected = {
        1: "qmv",
        2: "qmv_2",
        3: "qmv_batch",
        8: "qmv_batch",
        9: "qmv_batch_16",
        16: "qmv_batch_16",
        17: "qmm",
        4096: "qmm",
    }
    assert {rows: kernels.for_rows(rows) for rows in expected} == expected
    with pytest.raises(ValueError, match="expected at least 1, found 0"):
        kernels.for_rows(0)


def test_row_ranges_leave_no_gap():
    ranges = kernels.ROW_RANGES
    assert ranges[0][1] == 1 and ranges[-1][2] is None
    for (_, _, last), (_, first, _) in itertools.pairwise(ranges):
        assert first == last + 1


# A tile of x is `m_tile` rows: the weights are read once for each, not once for each row.
@TYPES
@pytest.mark.parametrize("operation", ["qmv_2", "qmv_batch", "qmv_batch_16", "qmm"])
def test_weights_are_decoded_once_a_tile(type_name, operation):
    fmt = formats.get(type_name)
    blocks = testing.weight(type_name, 64, 256)[0]
    tile = kernels.launch(fmt, operation, 64).m_tile

    def bytes_read(rows: int) -> int:
        x = testing.activations("zero-mean", (rows, 256), "float32")
        with metal.checked() as report:
            kernels.run_linear(fmt, x, blocks, operation=operation)
        return report.bytes_read["weight"]

    one = bytes_read(1)
    assert one >= blocks.nbytes
    assert bytes_read(tile) == one
    assert bytes_read(tile + 1) == 2 * one


@TYPES
def test_wrong_columns_are_refused(type_name):
    blocks = testing.weight(type_name, 5, 256)[0]
    with pytest.raises(ValueError, match="expected 256 columns, .* found 512"):
        kernels.run_linear(formats.get(type_name), mx.zeros((1, 512)), blocks)
