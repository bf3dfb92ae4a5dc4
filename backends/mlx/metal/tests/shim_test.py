"""The shim's Metal types and functions compute what the Metal specification says."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal


def run(source, dtype=mx.float32, outputs=32, threads=32, inputs=None, header=""):
    """Output of a kernel of one threadgroup, under the checker; `i` and `lane` are its thread."""
    inputs = inputs or {}
    source = "const uint i = thread_position_in_grid.x; const uint lane = i % 32;\n" + source
    kernel = metal.metal_kernel("shim", list(inputs), ["out"], source, header)
    with metal.checked():
        (out,) = kernel(
            inputs=list(inputs.values()),
            output_shapes=[(outputs,)],
            output_dtypes=[dtype],
            grid=(threads, 1, 1),
            threadgroup=(threads, 1, 1),
        )
    return out


def same_bits(a, b, word) -> bool:
    return np.array_equal(np.array(mx.view(a, word)), np.array(mx.view(b, word)))


@pytest.mark.parametrize("dtype, name", [(mx.float16, "half"), (mx.bfloat16, "bfloat")])
def test_conversions_round_to_nearest_even(dtype, name):
    # Neighbourhoods of every exponent and of ties, infinities and subnormals.
    words = np.arange(0, 2**32, 2**32 // 700, dtype=np.uint64).astype(np.uint32)
    words = np.concatenate([words & 0xFFFF0000, words & 0xFFFF0000 | 0x8000, words, words | 0x1FFF])
    values = words.view(np.float32)
    values = mx.array(values[~np.isnan(values)])
    n = values.size
    kernel = metal.metal_kernel(
        "convert",
        ["x"],
        ["to", "back"],
        f"const uint i = thread_position_in_grid.x; to[i] = {name}(x[i]); back[i] = float(to[i]);",
    )
    to, back = kernel(
        inputs=[values],
        output_shapes=[(n,), (n,)],
        output_dtypes=[dtype, mx.float32],
        grid=(n, 1, 1),
        threadgroup=(64, 1, 1),
    )
    assert same_bits(to, values.astype(dtype), mx.uint16)
    assert same_bits(back, values.astype(dtype).astype(mx.float32), mx.uint32)


def test_small_floats_round_after_each_operation():
    x = mx.array([1.0, 0.00390625], mx.bfloat16)  # the sum needs one more bit than a bfloat has
    assert run("out[i] = float((x[0] + x[1]) + x[1]);", inputs={"x": x})[0].item() == 1.0
    assert run("out[i] = float(x[0] + 1) + x[1];", inputs={"x": x})[0].item() == 2.00390625
    h = mx.array([60000.0], mx.float16)
    assert run("out[i] = float(h[0] + h[0]);", inputs={"h": h})[0].item() == float("inf")
    assert run("out[i] = float(h[0]) + h[0];", inputs={"h": h})[0].item() == 120000.0
    assert run("bfloat b = 3; b += 0.25f; b *= 2; out[i] = -b;")[0].item() == -6.5


def test_fma_rounds_once():
    a = 1 + 2**-12
    expected = a * a - 1  # exact in float64, and in float32
    x = {"x": mx.array([a])}
    assert run("out[i] = fma(x[0], x[0], -1.0f);", inputs=x)[0].item() == expected
    separate = run("out[i] = x[0] * x[0] + -1.0f;", inputs=x)
    assert separate[0].item() != expected


def test_vectors():
    source = """
        float4 v = float4(1.0f, float2(2.0f, 3.0f), 4.0f);
        v.xy = v.zw;            // 3 4 3 4
        v.zw = v.xy + 1;        // 3 4 4 5
        float4 w = v;
        w.xy = v.zw;            // 4 5 4 5: only x and y change
        packed_float3 p = v.xyz * 2.0f;
        uchar4 bytes = as_type<uchar4>(0x04030201u);
        const half2 h = as_type<half2>(0x3C004000u);
        const float r[16] = {v.x, v.y, v.z, v.w, w[0], w[1], w[2], w[3], p[0], p[1], p[2],
                             float(bytes.x), float(bytes.w), float(h.x), float(h.y),
                             dot(v, w)};
        if (i < 16) out[i] = r[i];
    """
    assert run(source, outputs=16).tolist() == [
        3,
        4,
        4,
        5,
        4,
        5,
        4,
        5,
        6,
        8,
        8,
        1,
        4,
        2,
        1,
        12 + 20 + 16 + 25,
    ]


def test_sizes_and_alignments():
    source = """
        const int r[12] = {
            sizeof(float3), sizeof(packed_float3), sizeof(half4), sizeof(packed_half4),
            alignof(float4), alignof(packed_float4), alignof(uchar4), alignof(packed_uchar4),
            sizeof(bfloat4), alignof(packed_bfloat2), sizeof(float2x4), sizeof(ulong2)};
        if (i < 12) out[i] = r[i];
    """
    assert run(source, mx.int32, 12).tolist() == [16, 12, 8, 8, 16, 4, 4, 1, 8, 2, 32, 16]


def test_integer_functions():
    source = """
        const int r[9] = {
            int(extract_bits(0xABCDu, 4, 8)), extract_bits(-1, 3, 4), int(popcount(0xF0F0u)),
            int(clz(1u)), int(ctz(8u)), int(clz(uchar(1))), int(mulhi(0x80000000u, 6u)),
            abs(-5), clamp(7, 1, 4)};
        if (i < 9) out[i] = r[i];
    """
    assert run(source, mx.int32, 9).tolist() == [0xBC, -1, 8, 31, 3, 7, 3, 5, 4]


LANES = np.arange(32)


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("simd_sum(lane)", np.full(32, 496)),
        ("simd_max(lane ^ 5)", np.full(32, 31)),
        ("simd_min(lane + 3)", np.full(32, 3)),
        ("simd_or(1u << (lane & 7))", np.full(32, 255)),
        ("simd_and(lane | 4)", np.full(32, 4)),
        ("simd_xor(lane)", np.zeros(32)),
        ("simd_product(lane == 3 ? 7u : 1u)", np.full(32, 7)),
        ("simd_prefix_inclusive_sum(lane)", np.cumsum(LANES)),
        ("simd_prefix_exclusive_sum(lane)", np.cumsum(LANES) - LANES),
        ("simd_shuffle(lane * 2, ushort(31 - lane))", (31 - LANES) * 2),
        ("simd_shuffle_xor(lane, 5)", LANES ^ 5),
        ("simd_shuffle_down(lane, 3)", np.where(LANES < 29, LANES + 3, LANES)),
        ("simd_shuffle_up(lane, 3)", np.where(LANES < 3, LANES, LANES - 3)),
        ("simd_broadcast(lane, 9)", np.full(32, 9)),
        ("simd_broadcast_first(lane + 1)", np.full(32, 1)),
        ("quad_sum(lane)", np.repeat(LANES.reshape(8, 4).sum(1), 4)),
        ("quad_broadcast(lane, 2)", np.repeat(LANES[2::4], 4)),
        ("simd_any(lane == 4)", np.ones(32)),
        ("simd_all(lane != 4)", np.zeros(32)),
        ("simd_is_first()", LANES == 0),
    ],
)
def test_simdgroup_functions(expression, expected):
    assert run(f"out[i] = {expression};", mx.uint32).tolist() == expected.astype(int).tolist()


def test_reductions_leave_absent_lanes_out():
    # 40 threads: the second simdgroup has 8 lanes.
    out = run("out[i] = simd_sum(1.0f) + 100.0f * simd_min(float(i));", outputs=40, threads=40)
    assert out.tolist() == [32.0] * 32 + [3208.0] * 8


@pytest.mark.parametrize(
    "type_, dtype", [("float", mx.float32), ("half", mx.float16), ("bfloat", mx.bfloat16)]
)
@pytest.mark.parametrize("transpose", ["true", "false"])
def test_simdgroup_matrix(type_, dtype, transpose):
    a, b = (mx.random.normal((8, 12)).astype(dtype) for _ in range(2))
    source = f"""
        simdgroup_matrix<{type_}, 8, 8> ma, mb;
        simdgroup_float8x8 sum = simdgroup_float8x8(0.5f);
        simdgroup_load(ma, a, 12, ulong2(2, 0));
        simdgroup_load(mb, b + 4, 12, ulong2(0, 0), {transpose});
        simdgroup_multiply_accumulate(sum, ma, mb, sum);
        simdgroup_store(sum, out, 8);
    """
    out = run(source, outputs=64, inputs={"a": a, "b": b})
    left = np.array(a.astype(mx.float32))[:, 2:10].astype(np.float64)
    right = np.array(b.astype(mx.float32))[:, 4:].astype(np.float64)
    expected = left @ (right.T if transpose == "true" else right) + 0.5 * np.eye(8)
    np.testing.assert_allclose(np.array(out).reshape(8, 8), expected, rtol=1e-5, atol=1e-5)


def test_thread_elements_have_apples_layout():
    # Lane l holds row (l / 16) * 4 + (l / 2) % 4 and two columns from (l / 8 % 2) * 4 + l % 2 * 2.
    x = mx.arange(64, dtype=mx.float32)
    source = """
        simdgroup_float8x8 m;
        simdgroup_load(m, x, 8);
        out[2 * lane] = m.thread_elements()[0];
        out[2 * lane + 1] = m.thread_elements()[1];
    """
    out = np.array(run(source, outputs=64, inputs={"x": x})).reshape(32, 2)
    row = LANES // 16 * 4 + LANES // 2 % 4
    column = LANES // 8 % 2 * 4 + LANES % 2 * 2
    assert np.array_equal(out, np.stack([row * 8 + column, row * 8 + column + 1], 1))


def test_helpers_of_one_name_in_two_kernels():
    # Units may share a library and a process; their helpers must not meet.
    for value in (1.0, 2.0):
        header = f"inline float helper() {{ return {value}f; }}\n"
        header += f"constant float TABLE[1] = {{{value}f}};\n"
        assert run("out[i] = helper() + TABLE[0];", header=header)[0].item() == 2 * value


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX-512 is of x86-64")
def test_avx512_is_refused():
    # A thread that waits would lose what the compiler keeps in zmm16 to zmm31 and k0 to k7.
    host = Path(metal.__file__).parent / "host"
    command = ["g++", "-std=gnu++17", "-w", "-fsyntax-only", host / "msl_wait.h"]
    assert subprocess.run(command).returncode == 0
    refused = subprocess.run([*command, "-mavx512f"], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "error: #error" in refused.stderr and "cannot be compiled for AVX-512" in refused.stderr
