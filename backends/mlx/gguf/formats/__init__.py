"""GGUF block formats: what the bytes of a quantized tensor mean.

`table.FORMATS` is the one place that describes a format. Kernels, lowering, the
oracle, tests and documents read it from here.
"""

from backends.mlx.gguf.formats.accuracy import linear_bound, ulp
from backends.mlx.gguf.formats.affine import affine_view
from backends.mlx.gguf.formats.block_format import Affine, BlockFormat, Unpacked
from backends.mlx.gguf.formats.float_view import float_view
from backends.mlx.gguf.formats.mlx_view import AFFINE, E2M1, FLOAT_MODES, MLXView
from backends.mlx.gguf.formats.oracle import dequantize, largest_magnitude
from backends.mlx.gguf.formats.repack_form import VIEWS, Form, form
from backends.mlx.gguf.formats.table import FORMATS, UnsupportedTypeError, by_ggml_id, get

__all__ = [
    "AFFINE",
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
