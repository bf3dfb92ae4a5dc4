"""The exact results that the GPU benchmark compares with."""

import mlx.core as mx
import numpy as np

from backends.mlx.gguf import formats, kernels
from bench import data


def test_gguf_results_are_those_of_the_kernels():
    matrix = data.gguf_matrix("Q4_K", 512)
    x = data.activations("offset", 3, 512, "bfloat16")
    out = kernels.run_linear(formats.get("Q4_K"), x, dict(matrix.parts)["weight"])
    exact, bound = data.exact_results(matrix, x, "bfloat16")
    assert exact.shape == bound.shape == (3, data.BASE_ROWS)
    error = np.abs(np.array(out.astype(mx.float32)) - exact)
    assert (error <= bound).all()


def test_affine_parts_are_what_mlx_multiplies():
    matrix = data.affine_matrix("Q5_K", 512, 5, 32, "float16")
    x = data.activations("zero-mean", 2, 512, "float16")
    packed, scales, biases = (
        mx.array(rows).view(dtype)
        for (_, rows), dtype in zip(matrix.parts, (mx.uint32, mx.float16, mx.float16), strict=True)
    )
    out = mx.quantized_matmul(x, packed, scales, biases, group_size=32, bits=5)
    exact, _ = data.exact_results(matrix, x, "float16")
    found = np.array(out.astype(mx.float32))
    assert np.sqrt(((found - exact) ** 2).sum() / (exact**2).sum()) < 0.01


def test_file_holds_each_array_once(tmp_path):
    first, second = np.arange(10, dtype=np.int32), np.ones(3)
    with data.DataFile(tmp_path / "data") as file:
        places = [file.add(array) for array in (first, second, first.copy())]
    assert places[0] == places[2] == (0, 40)
    content = (tmp_path / "data").read_bytes()
    for (offset, size), array in zip(places[:2], (first, second), strict=True):
        assert offset % 256 == 0
        assert content[offset : offset + size] == array.tobytes()
