"""Products with MLX-quantized matrices, and dequantization.

MLX's affine CPU kernels are slow, and in bfloat16 they round every step. Here affine weights are
dequantized in float32 and multiplied in float32, which is closest to the GPU's float
accumulation; a weight that is constant is dequantized once.
"""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.runner.dtypes import scalar_type
from backends.mlx.runner.errors import ProgramError
from backends.mlx.runner.nodes.registry import node

_AFFINE = "affine"


@node("QuantizedMatmulNode")
def quantized_matmul(run, n):
    x, scales = run.tensor(n.x), run.tensor(n.scales)
    if n.mode != _AFFINE:
        product = mx.quantized_matmul(
            x,
            run.tensor(n.w),
            scales,
            run.optional_tensor(n.biases),
            transpose=n.transpose,
            group_size=n.group_size,
            bits=n.bits,
            mode=n.mode,
        )
        run.set(n.out, product)
        return
    weight = _constant_weight(run, n)
    product = x.astype(mx.float32) @ (weight.T if n.transpose else weight)
    run.set(n.out, product.astype(_result_type(x, scales, run.tensor(n.biases))))


@node("GatherQmmNode")
def gather_qmm(run, n):
    product = mx.gather_qmm(
        run.tensor(n.x),
        run.tensor(n.w),
        run.tensor(n.scales),
        run.optional_tensor(n.biases),
        lhs_indices=run.optional_tensor(n.lhs_indices),
        rhs_indices=run.optional_tensor(n.rhs_indices),
        transpose=n.transpose,
        group_size=n.group_size,
        bits=n.bits,
        mode=n.mode,
        sorted_indices=_is_sorted(run, n),
    )
    run.set(n.out, product)


@node("GatherMmNode")
def gather_mm(run, n):
    product = mx.gather_mm(
        run.tensor(n.a),
        run.tensor(n.b),
        lhs_indices=run.optional_tensor(n.lhs_indices),
        rhs_indices=run.optional_tensor(n.rhs_indices),
        sorted_indices=_is_sorted(run, n),
    )
    run.set(n.out, product)


@node("DequantizeNode")
def dequantize(run, n):
    scales = run.tensor(n.scales)
    dtype = scales.dtype if n.dtype is None else scalar_type(n.dtype, "dtype").mlx
    if n.mode == _AFFINE:
        run.set(n.out, _affine(run, n).astype(dtype))
        return
    weight = mx.dequantize(
        run.tensor(n.w),
        scales,
        run.optional_tensor(n.biases),
        group_size=n.group_size,
        bits=n.bits,
        mode=n.mode,
        global_scale=run.optional_tensor(n.global_scale),
        dtype=None if n.dtype is None else dtype,
    )
    run.set(n.out, weight)


def _constant_weight(run, n) -> mx.array:
    slots = (n.w, n.scales, n.biases)
    if not all(slot is not None and run.is_fixed(slot) for slot in slots):
        return _affine(run, n)
    key = ("affine", *(slot.idx for slot in slots), n.group_size, n.bits)
    if key not in run.cache:
        run.cache[key] = _affine(run, n)
        mx.eval(run.cache[key])
    return run.cache[key]


def _affine(run, n) -> mx.array:
    if n.biases is None:
        raise ProgramError("biases", "a tensor (mode 'affine')", "none")
    scales, biases = (run.tensor(slot).astype(mx.float32) for slot in (n.scales, n.biases))
    return mx.dequantize(run.tensor(n.w), scales, biases, group_size=n.group_size, bits=n.bits)


def _result_type(*arrays: mx.array) -> mx.Dtype:
    """The dtype that MLX promotes `arrays` to."""
    dtype = arrays[0].dtype
    for array in arrays[1:]:
        dtype = mx.result_type(mx.zeros(1, dtype), array)
    return dtype


def _is_sorted(run, n) -> bool:
    if n.sorted_indices_flag is not None:
        return run.integer(n.sorted_indices_flag) != 0
    return n.sorted_indices
