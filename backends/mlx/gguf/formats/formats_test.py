"""The table of formats against the `gguf` package, and blocks taken apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import gguf
from backends.mlx.gguf import formats
from backends.mlx.gguf.formats import testing as sample

ALL = pytest.mark.parametrize("fmt", formats.FORMATS.values(), ids=formats.FORMATS)
Q4_K, Q6_K = formats.get("Q4_K"), formats.get("Q6_K")


def merging_q6_k(rows: int, columns: int, run: int) -> np.ndarray:
    """Q6_K blocks in which `run` neighbouring sub-blocks share one scale."""
    blocks = sample.blocks(Q6_K, rows, columns).reshape(rows, -1, Q6_K.block_bytes).copy()
    scales = blocks[..., 192:208].reshape(rows, -1, 16 // run, run)
    blocks[..., 192:208] = np.repeat(scales[..., :1], run, axis=-1).reshape(rows, -1, 16)
    return blocks.reshape(rows, -1)


@ALL
def test_sizes_are_those_of_the_gguf_package(fmt):
    ggml_type = gguf.GGMLQuantizationType[fmt.name]
    assert ggml_type == fmt.ggml_id
    assert gguf.GGML_QUANT_SIZES[ggml_type] == (fmt.block_weights, fmt.block_bytes)
    assert formats.get(fmt.name.lower()) is fmt
    assert formats.by_ggml_id(fmt.ggml_id) is fmt


def test_alignment():
    assert (Q4_K.alignment, Q6_K.alignment) == (16, 2)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_ulp_is_the_distance_to_the_next_number(dtype):
    smallest = np.finfo(dtype).smallest_normal
    values = np.array([0, smallest / 4, smallest, 1, 1.5, 2, 3.75, 1000], dtype)
    np.testing.assert_array_equal(formats.ulp(values, dtype), np.spacing(values))


def test_ulp_of_bfloat16_is_that_of_the_upper_half_of_a_float32():
    values = np.array([1, 1.5, 2, 1000], np.float32)
    np.testing.assert_array_equal(formats.ulp(values, "bfloat16"), np.spacing(values) * 2**16)


def test_unsupported_type_lists_the_supported_ones():
    with pytest.raises(formats.UnsupportedTypeError, match=", Q4_K, .*, found 'Q9_Z'"):
        formats.get("Q9_Z")
    assert formats.by_ggml_id(999) is None


@ALL
def test_rows_are_whole_blocks(fmt):
    assert fmt.columns(3 * fmt.block_bytes) == 3 * fmt.block_weights
    assert fmt.row_bytes(3 * fmt.block_weights) == 3 * fmt.block_bytes
    for wrong in (0, fmt.block_bytes - 1, fmt.block_bytes + 1):
        with pytest.raises(ValueError, match=f"found {wrong}$"):
            fmt.columns(wrong)
    with pytest.raises(ValueError, match="found 100$"):
        fmt.row_bytes(100)
    with pytest.raises(ValueError, match="expected uint8 blocks"):
        formats.dequantize(fmt, np.zeros((2, fmt.block_bytes), np.float32))
    with pytest.raises(ValueError, match="expected uint8 blocks"):
        formats.dequantize(fmt, np.zeros(fmt.block_bytes, np.uint8))


@ALL
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_unpacked_blocks_are_the_exact_weights(fmt):
    for blocks in (
        sample.blocks(fmt, 5, 768),
        sample.random_bytes(fmt, 64, 256),
        sample.adversarial(fmt, 256),
    ):
        quants, scales, minima = fmt.unpack(fmt.as_blocks(blocks))
        lowest, highest = fmt.quants
        assert lowest <= quants.min() and quants.max() <= highest
        wide = [np.repeat(factor, fmt.group, axis=1) for factor in (scales, minima)]
        found = (wide[0] * quants + wide[1]).reshape(blocks.shape[0], -1)
        np.testing.assert_array_equal(found, formats.dequantize(fmt, blocks))


# 9 is Q8_1, which the package does not decode: the weights then come from the row's decoder.
@pytest.mark.parametrize("name", ["Q4_0", "Q4_1"])
def test_a_zero_has_the_sign_that_ggml_gives_it(name):
    fmt = formats.get(name)
    blocks = np.zeros((1, fmt.block_bytes), np.uint8)
    blocks[0, :2] = np.array([-1.0], np.float16).view(np.uint8)
    blocks[0, -16:] = 0x88 if name == "Q4_0" else 0
    found = formats.dequantize(dataclasses.replace(fmt, ggml_id=9), blocks)
    expected = formats.dequantize(fmt, blocks)
    assert not expected.any()
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
    assert np.signbit(found).all() == (name == "Q4_0")


@ALL
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_are_those_of_ggml(fmt):
    for blocks in (sample.blocks(fmt, 5, 768), sample.adversarial(fmt, 256)):
        found, expected = formats.dequantize(fmt, blocks), sample.dequantize_by_ggml(fmt, blocks)
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@ALL
def test_no_weight_exceeds_the_largest_magnitude(fmt):
    blocks = sample.blocks(fmt, 7, 512)
    exact, reach = formats.dequantize(fmt, blocks), formats.largest_magnitude(fmt, blocks)
    assert reach.shape == exact.shape
    assert (np.abs(exact) <= reach).all()
    assert (np.abs(exact).max(axis=1) > 0.5 * reach.max(axis=1)).all()


@ALL
def test_a_block_of_tame_scales_is_neither_small_nor_large(fmt):
    weights = formats.dequantize(fmt, sample.blocks(fmt, 7, 512))
    largest = np.abs(weights).reshape(-1, fmt.block_weights).max(axis=1)
    assert (largest >= 1 / 16).all() and (largest < 1).all()
    assert len(np.unique(weights.reshape(-1, fmt.block_weights), axis=0)) > 10


# MLX's groups are of 32 weights at least: sub-blocks of 16 merge only by chance.
@ALL
def test_affine_view_is_exact_or_none(fmt):
    blocks = sample.blocks(fmt, 6, 512)
    view = formats.affine_view(fmt, blocks)
    if fmt.group < 32:
        assert view is None
        return
    assert view.group % fmt.group == 0
    assert view.quants.max() < 2**view.bits
    np.testing.assert_array_equal(view.weights(), formats.dequantize(fmt, blocks))


@ALL
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_views_of_adversarial_blocks_are_exact_or_none(fmt):
    blocks = sample.adversarial(fmt, 256)
    weights = formats.dequantize(fmt, blocks)
    views = [read(fmt, row[None]) for read in formats.VIEWS for row in blocks]
    found = [(view, index % len(blocks)) for index, view in enumerate(views) if view is not None]
    # Where no two sub-blocks share a scale, those of equal bytes do.
    assert found
    for view, row in found:
        np.testing.assert_array_equal(view.weights()[0].astype(np.float32), weights[row])


@pytest.mark.parametrize("last, bits", [(2, 2), (3, 2), (4, 3), (31, 5), (32, 6), (64, 8)])
def test_affine_bits_are_the_fewest_that_mlx_has(last, bits):
    assert dataclasses.replace(Q4_K, quants=(0, last)).affine.bits == bits


def test_affine_zero_makes_quants_unsigned():
    affine = dataclasses.replace(Q4_K, quants=(-3, 5)).affine
    assert (affine.bits, affine.zero, affine.signed, Q4_K.affine.signed) == (4, 3, True, False)


def test_affine_view_of_q4_k_is_exact_and_keeps_minima_without_scale():
    blocks = sample.blocks(Q4_K, 6, 512).reshape(6, -1, Q4_K.block_bytes).copy()
    blocks[0, 0, 0:2] = 0  # d = 0: every weight is its sub-block's minimum
    blocks = blocks.reshape(6, -1)
    view = formats.affine_view(Q4_K, blocks)
    assert (view.group, view.bits, view.quants.max()) == (32, 4, 15)
    exact = formats.dequantize(Q4_K, blocks)
    assert np.abs(exact[0, :256]).max() > 0
    np.testing.assert_array_equal(view.weights().astype(np.float32), exact)


@pytest.mark.parametrize("run, group", [(1, None), (2, 32), (4, 64), (8, 128), (16, 128)])
def test_affine_view_of_q6_k_only_where_sub_blocks_merge(run, group):
    blocks = merging_q6_k(3, 512, run)
    view = formats.affine_view(Q6_K, blocks)
    if group is None:
        assert view is None
        return
    assert view.group == group
    exact = formats.dequantize(Q6_K, blocks)
    np.testing.assert_array_equal(view.weights(), exact.astype(np.float64))


FLOATS = [fmt for fmt in formats.FORMATS.values() if fmt.mlx_mode]


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda fmt: fmt.name)
def test_float_view_is_exact(fmt):
    blocks = sample.blocks(fmt, 6, 512)
    view = formats.float_view(fmt, blocks)
    assert (view.mode, view.group, view.bits) == (fmt.mlx_mode, fmt.group, 4)
    assert view.scales.dtype == np.uint8 and view.biases is None
    np.testing.assert_array_equal(view.weights(), formats.dequantize(fmt, blocks))


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda fmt: fmt.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_float_view_of_every_scale(fmt):
    """Byte 255 alone has none: 2^128 as E8M0, infinite in MLX, and 480, beyond MLX's E4M3."""
    for byte in range(256):
        blocks = np.full((1, fmt.block_bytes), byte, np.uint8)
        # The nibbles, as both types have them last: every float.
        blocks[:, -16:] = np.arange(16) * 0x11
        view = formats.float_view(fmt, blocks)
        assert (view is None) == (byte == 255)
        if view is not None:
            exact = formats.dequantize(fmt, blocks)
            np.testing.assert_array_equal(view.weights().astype(np.float32), exact)


def test_only_a_row_that_names_a_mode_has_a_float_view():
    assert FLOATS and Q4_K not in FLOATS
    assert formats.float_view(Q4_K, sample.blocks(Q4_K, 1, 256)) is None


@ALL
def test_form_is_that_of_the_first_view(fmt):
    form = formats.form(fmt)
    views = [read(fmt, sample.blocks(fmt, 6, 512)) for read in formats.VIEWS]
    first = next((view for view in views if view is not None), None)
    assert form.certain == (first is not None)
    if form.certain:
        assert form[:2] == (first.mode, first.bits) and first.group % form.group == 0
    else:
        assert form[:3] == (formats.AFFINE, fmt.affine.bits, 32)
