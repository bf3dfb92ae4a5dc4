"""The project's accuracy rule for a linear, in one place.

Against the float64 product of the exact weights, an output may be off by one unit in
the last place of its type, plus 4e-6 times the sum over k of |x_k| r_k, where r_k is the
largest magnitude that the weight's sub-block can represent.
"""

from __future__ import annotations

import numpy as np

RELATIVE = 4e-6


def ulp(values: np.ndarray, dtype: str) -> np.ndarray:
    """One unit in the last place of `dtype` at each of `values`, float64.

    dtype: "float32", "float16" or "bfloat16", which numpy does not know and MLX does.
    """
    # Imported here, as most of what reads `formats` needs no MLX.
    import mlx.core as mx

    limits = mx.finfo(getattr(mx, dtype))
    with np.errstate(divide="ignore"):
        powers = np.exp2(np.floor(np.log2(np.abs(values))))
    return np.maximum(powers, limits.smallest_normal) * limits.eps


def linear_bound(x: np.ndarray, reach: np.ndarray, exact: np.ndarray, out_dtype: str) -> np.ndarray:
    """The largest error that the rule allows, float64 (M, N).

    x: (M, K) activations. reach: (N, K) `largest_magnitude` of the weights. exact:
    (M, N) float64 product, with the bias if there is one. out_dtype: the outputs' type.
    """
    spread = np.abs(x.astype(np.float64)) @ reach.astype(np.float64).T
    return ulp(exact, out_dtype) + RELATIVE * spread
