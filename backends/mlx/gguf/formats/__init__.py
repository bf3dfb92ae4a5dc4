"""GGUF block formats: what the bytes of a quantized tensor mean.

`FORMATS` is the one table of them. Kernels, lowering, tests and documents read it from here.
"""

from backends.mlx.gguf.formats.accuracy import linear_bound, ulp
from backends.mlx.gguf.formats.block_format import AFFINE_BITS, Affine, BlockFormat, Unpacked
from backends.mlx.gguf.formats.mlx_view import (
    AFFINE,
    E2M1,
    FLOAT_MODES,
    VIEWS,
    Form,
    MLXView,
    affine_view,
    float_view,
    form,
)
from backends.mlx.gguf.formats.oracle import dequantize, largest_magnitude
from backends.mlx.gguf.formats.table import FORMATS, UnsupportedTypeError, by_ggml_id, get

__all__ = [
    "AFFINE",
    "AFFINE_BITS",
    "Affine",
    "BlockFormat",
    "E2M1",
    "FLOAT_MODES",
    "FORMATS",
    "Form",
    "MLXView",
    "Unpacked",
    "UnsupportedTypeError",
    "VIEWS",
    "affine_view",
    "by_ggml_id",
    "dequantize",
    "float_view",
    "form",
    "get",
    "largest_magnitude",
    "linear_bound",
    "ulp",
]
