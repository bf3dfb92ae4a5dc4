"""A GGUF type is added by its check list alone: Q8_1, which ggml keeps activations in."""

from __future__ import annotations

from pathlib import Path

from tests.additions.testing import Copy, check_list

HEADER = Path(__file__).with_name("q8_1.h")
DECODER = '''def unpack_q8_1(blocks: np.ndarray) -> Unpacked:
    """Q8_1: half d, half s, 32 int8."""
    return _signed(blocks, blocks[:, 4:36].view(np.int8).astype(np.int16))


'''
ROW = """    BlockFormat(
        name="Q8_1",
        ggml_id=9,
        block_weights=32,
        block_bytes=36,
        header="legacy/q8_1.h",
        group=32,
        quants=(-128, 127),
        unpack=legacy_quants.unpack_q8_1,
    ),
"""
HEADERS = """    "q8_1": [
        "grouped.h",
        "legacy/q8_1.h",
    ],
"""
SCRIPT = """
import runpy
from pathlib import Path

import mlx.core as mx
import numpy as np
from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.formats import testing

fmt = formats.get("Q8_1")
blocks = testing.blocks(fmt, 37, 96)
exact = formats.dequantize(fmt, blocks)
x = np.random.default_rng(0).standard_normal((20, 96), np.float32)
with metal.checked():
    rows = kernels.run_gather(fmt, blocks, mx.arange(37, dtype=mx.int64), mx.float32)
    assert (np.array(rows) == exact).all()
    for count in (1, 20):
        out = np.array(kernels.run_linear(fmt, mx.array(x[:count]), blocks))
        product = x[:count].astype(float) @ exact.T.astype(float)
        reach = formats.largest_magnitude(fmt, blocks)
        bound = formats.linear_bound(x[:count], reach, product, "float32")
        assert (abs(out - product) <= bound).all()
listed = runpy.run_path(str(Path(kernels.__file__).with_name("types.bzl")))["TYPES"]["q8_1"]
folder = Path(kernels.__file__).with_name("types")
included = metal.included([folder / fmt.header])
assert {folder / header for header in listed} == {p for p in included if folder in p.parents}
print(formats.form(fmt))
"""


def test_a_decoder_two_rows_and_a_header(tmp_path):
    copy = Copy(tmp_path)
    path = "backends/mlx/gguf/formats/legacy_quants.py"
    copy.insert(path, "def unpack_q4_0", DECODER)
    path = "backends/mlx/gguf/formats/table.py"
    copy.insert(path, '    BlockFormat(\n        name="Q2_K"', ROW)
    copy.add("backends/mlx/gguf/kernels/types/legacy/q8_1.h", HEADER.read_text())
    path = "backends/mlx/gguf/kernels/types.bzl"
    copy.insert(path, '    "tq1_0": [', HEADERS)
    assert "mode='affine', bits=8, group=32, certain=True" in copy.run(SCRIPT)
    assert copy.touched == check_list("A GGUF type")
