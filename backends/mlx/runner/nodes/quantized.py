"""Products with MLX-quantized matrices, and dequantization.

MLX's CPU kernels are slow, and in bfloat16 they round every step. Here weights are dequantized in
float32 and multiplied in float32, which is closest to the GPU's float accumulation; a weight that
is constant is dequantized once. The matrices of experts are too many to keep so: MLX's kernel
multiplies them, in float32.
"""

from __future__ import annotations

from math import prod

import mlx.core as mx

from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import node

_AFFINE = "affine"


@node("QuantizedMatmulNode")
def quantized_matmul(run, n):
    x = run.tensor(n.x)
    weight = _constant_weight(run, n)
    product = x.astype(mx.float32) @ (weight.T if n.transpose else weight)
    run.set(n.out, product.astype(_product_type(run, n)))


@node("GatherQmmNode")
def gather_qmm(run, n):
    x, scales, biases = run.tensor(n.x), run.tensor(n.scales), run.optional_tensor(n.biases)
    dtype = _product_type(run, n)
    if n.bits < 1:
        # MLX divides by it.
        raise ProgramError("bits", "1 or more", n.bits)
    if n.mode == _AFFINE:
        scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
    product = mx.gather_qmm(
        x.astype(mx.float32),
        run.tensor(n.w),
        scales,
        biases,
        lhs_indices=_indices(run, n.lhs_indices, "lhs_indices", x),
        rhs_indices=_indices(run, n.rhs_indices, "rhs_indices", run.tensor(n.w)),
        transpose=n.transpose,
        group_size=n.group_size,
        bits=n.bits,
        mode=n.mode,
        sorted_indices=_is_sorted(run, n),
    )
    run.set(n.out, product.astype(dtype))


@node("GatherMmNode")
def gather_mm(run, n):
    a, b = run.tensor(n.a), run.tensor(n.b)
    # All that MLX has on the CPU.
    product = mx.gather_mm(
        a.astype(mx.float32),
        b.astype(mx.float32),
        lhs_indices=_indices(run, n.lhs_indices, "lhs_indices", a),
        rhs_indices=_indices(run, n.rhs_indices, "rhs_indices", b),
        sorted_indices=_is_sorted(run, n),
    )
    run.set(n.out, product.astype(_result_type(a, b)))


@node("DequantizeNode")
def dequantize(run, n):
    dtype = run.tensor(n.scales).dtype if n.mode == _AFFINE else mx.bfloat16
    if n.dtype is not None:
        dtype = scalar_type(n.dtype, "dtype").mlx
    run.set(n.out, _float32(run, n, run.optional_tensor(n.global_scale)).astype(dtype))


def _constant_weight(run, n) -> mx.array:
    slots = [slot for slot in (n.w, n.scales, n.biases) if slot is not None]
    if not all(run.is_fixed(slot) for slot in slots):
        return _float32(run, n)
    key = (n.mode, *(slot.idx for slot in slots), n.group_size, n.bits)
    if key not in run.cache:
        run.cache[key] = _float32(run, n)
        mx.eval(run.cache[key])
    return run.cache[key]


def _float32(run, n, global_scale: mx.array | None = None) -> mx.array:
    """The weight of `n`, dequantized."""
    factors = [run.tensor(n.scales)]
    if n.mode == _AFFINE:
        factors = [factor.astype(mx.float32) for factor in (*factors, _biases(run, n))]
    return mx.dequantize(
        run.tensor(n.w),
        *factors,
        group_size=n.group_size,
        bits=n.bits,
        mode=n.mode,
        global_scale=global_scale,
        dtype=mx.float32,
    )


def _biases(run, n) -> mx.array:
    if n.biases is None:
        raise ProgramError("biases", "a tensor (mode 'affine')", "none")
    return run.tensor(n.biases)


def _product_type(run, n) -> mx.Dtype:
    """The dtype of a product: MLX promotes x to affine factors, and to no others."""
    x = run.tensor(n.x)
    return _result_type(x, run.tensor(n.scales), _biases(run, n)) if n.mode == _AFFINE else x.dtype


def _result_type(*arrays: mx.array) -> mx.Dtype:
    """The dtype that MLX promotes `arrays` to."""
    dtype = arrays[0].dtype
    for array in arrays[1:]:
        dtype = mx.result_type(mx.zeros(1, dtype), array)
    return dtype


def _indices(run, slot, name: str, matrices: mx.array) -> mx.array | None:
    """Indices of `matrices` (..., rows, columns). MLX would read whatever lies at a wrong one."""
    indices = run.optional_tensor(slot)
    if indices is not None and indices.size:
        count = prod(matrices.shape[:-2])
        for index in (indices.min().item(), indices.max().item()):
            if not 0 <= index < count:
                raise ProgramError(name, f"0 to {count - 1}", index)
    return indices


def _is_sorted(run, n) -> bool:
    if n.sorted_indices_flag is not None:
        return run.integer(n.sorted_indices_flag) != 0
    return n.sorted_indices
