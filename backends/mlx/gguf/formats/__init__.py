"""GGUF block formats: what the bytes of a quantized tensor mean.

`table.FORMATS` is the one place that describes a format. Kernels, lowering, the
oracle, tests and documents read it from here.
"""

from backends.mlx.gguf.formats.accuracy import linear_bound, ulp
from backends.mlx.gguf.formats.affine import AffineView, affine_view
from backends.mlx.gguf.formats.block_format import Affine, BlockFormat, Unpacked
from backends.mlx.gguf.formats.oracle import dequantize, largest_magnitude
from backends.mlx.gguf.formats.table import FORMATS, UnsupportedTypeError, by_ggml_id, get

__all__ = [
    "Affine",
    "AffineView",
    "BlockFormat",
    "FORMATS",
    "Unpacked",
    "UnsupportedTypeError",
    "affine_view",
    "by_ggml_id",
    "dequantize",
    "get",
    "largest_magnitude",
    "linear_bound",
    "ulp",
]
