"""A kernel operation is added by its check list alone: a mat-vec in its plainest form."""

from __future__ import annotations

from pathlib import Path

from tests.additions.testing import Copy, check_list

HERE = Path(__file__).parent
SCRIPT = """
import mlx.core as mx
import numpy as np
from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.formats import testing

for name in ("Q4_K", "IQ4_NL"):
    fmt = formats.get(name)
    blocks = testing.blocks(fmt, 67, 256)
    exact = formats.dequantize(fmt, blocks).astype(float)
    x = np.random.default_rng(0).standard_normal((3, 256), np.float32)
    with metal.checked():
        out = kernels.run_linear(fmt, mx.array(x), blocks, operation="qmv_plain")
    product = x.astype(float) @ exact.T
    bound = formats.linear_bound(x, formats.largest_magnitude(fmt, blocks), product, "float32")
    assert (abs(np.array(out) - product) <= bound).all()
print(kernels.LINEAR)
"""


def test_two_files_and_two_rows(tmp_path):
    copy = Copy(tmp_path)
    kernels = "backends/mlx/gguf/kernels"
    for name in ("qmv_plain.h", "qmv_plain.metal"):
        copy.add(f"{kernels}/ops/{name}", (HERE / name).read_text())
    row = '    _linear("qmv_plain", "qmv_plain"),\n'
    copy.insert(f"{kernels}/operations.py", '    _experts("gather_qmv"', row)
    tile = '    (None, "qmv_plain"): ((0, Launch(64, 1, 1, per_thread=True)),),\n'
    copy.insert(f"{kernels}/dispatch.py", "    # A thread decodes one half sub-block", tile)
    assert "'qmv_plain'" in copy.run(SCRIPT)
    assert copy.touched == check_list("A kernel operation")
