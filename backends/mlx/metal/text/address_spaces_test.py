"""Gate 1: what Metal accepts passes, what Apple's compiler would reject is found at its line."""

from __future__ import annotations

import dataclasses

import pytest

from backends.mlx import metal
from backends.mlx.metal.tests.testing import MATMUL, ROW_SUM

HEADER = """\
#include <metal_stdlib>
#include <metal_simdgroup>
using namespace metal;

struct Block {
    static constexpr constant int weights = 32;
    half d;
    uint8_t q[32];
};
constant float LUT[4] = {0.0f, 1.0f, 2.0f, 3.0f};

inline float dot4(device const Block* block, thread const float* y) {
    float sum = 0.0f;
    for (int i = 0; i < 4; ++i) sum = fma(y[i], float(block->q[i] & 15), sum);
    return sum * float(block->d);
}
template <typename T>
inline T first(device const T* from) { return from[0]; }
template <typename Pointer>
inline float any_space(Pointer p) { return float(p[0]); }
inline void add(thread float& to, float value) { to += value; }
"""
SOURCE = """\
    threadgroup float tile[8][4];
    const uint i = thread_position_in_grid.x;
    device const Block* block = (device const Block*)weight + i;
    float y[4];
    for (int k = 0; k < 4; ++k) y[k] = float(x[k + K]);
    float r = dot4(block, y) + LUT[i & 3] + float(bias[1]) + float(first(x));
    add(r, simd_sum(r));
    tile[i % 8][0] = r;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    threadgroup float* row = tile[i % 8];
    half4 h = half4(*(device const packed_half4*)(weight + 8));
    float4 v = float4(h) + float4(x[0], 2.0f, float2(1.0f));
    v.xy = v.zw * 2.0f;
    const uint4 words = *(device const uint4*)weight;
    r += row[0] + v.x + any_space(tile[0]) + any_space(bias) + float(as_type<half2>(words.y).x);
    simdgroup_float8x8 m;
    simdgroup_load(m, &tile[0][0], 4);
    simdgroup_multiply_accumulate(m, m, m, m);
    simdgroup_store(m, &tile[0][0], 4);
    if (i == 0) out[i] = T(r + float(count) + float(x_shape[0]) + m.thread_elements()[0]);
"""
UNIT = metal.Unit(
    "subject",
    HEADER,
    SOURCE,
    (
        ("x", "bfloat16", (4096,)),
        ("weight", "uint8", (4096,)),
        ("bias", "float16", (5,)),
        ("count", "int32", ()),
    ),
    (("out", "bfloat16"),),
    (("T", "bfloat16"), ("K", 64)),
)


def errors(unit):
    return metal.check_address_spaces(unit)


def edited(old: str, new: str) -> metal.Unit:
    if old in UNIT.source:
        return dataclasses.replace(UNIT, source=UNIT.source.replace(old, new, 1))
    assert old in UNIT.header, f"nothing to replace: {old}"
    return dataclasses.replace(UNIT, header=UNIT.header.replace(old, new, 1))


def test_subject_is_clean():
    assert errors(UNIT) == []


@pytest.mark.parametrize(
    "subject, inputs",
    [
        (ROW_SUM, (("x", (3, 300)),)),
        (MATMUL, (("a", (24, 40)), ("b", (40, 23)))),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_kernels_of_the_other_tests_are_clean(subject, inputs, dtype):
    unit = metal.Unit(
        subject.name,
        subject.header,
        subject.source,
        tuple((name, dtype, shape) for name, shape in inputs),
        (("out", "float32" if subject is MATMUL else dtype),),
        (("T", dtype),),
    )
    assert errors(unit) == []


LEGAL = {
    "another dtype": lambda: dataclasses.replace(
        UNIT, template=(("T", "float32"), ("K", 1)), outputs=(("out", "float32"),)
    ),
    "bias in device memory": lambda: dataclasses.replace(
        UNIT, inputs=UNIT.inputs[:2] + (("bias", "float16", (50,)),) + UNIT.inputs[3:]
    ),
    "bfloat bias in constant memory": lambda: dataclasses.replace(
        UNIT, inputs=UNIT.inputs[:2] + (("bias", "bfloat16", (3,)),) + UNIT.inputs[3:]
    ),
    "const moved": lambda: edited("device const Block* block =", "const device Block* block ="),
    "integer to bfloat": lambda: edited("if (i == 0)", "out[1] = 1; if (i == 0)"),
    "bfloat to float": lambda: edited("float(first(x))", "first(x)"),
    "float to half": lambda: edited("half4 h =", "half one = r; half4 h ="),
    "auto": lambda: edited("threadgroup float* row =", "auto row ="),
    "thread pointer": lambda: edited("add(r,", "thread float* p = &r; *p += 1.0f; add(r,"),
    "loop unrolling": lambda: edited("for (int k", "#pragma unroll\n    for (int k"),
    "if constexpr": lambda: edited("add(r,", "if constexpr (K > 3) r += 1.0f;\n    add(r,"),
    "static_assert": lambda: edited("add(r,", 'static_assert(K == 64, "K");\n    add(r,'),
    "lambda-free helper in a namespace": lambda: edited(
        "inline void add", "namespace n { inline float one() { return 1.0f; } }\ninline void add"
    ),
    "OpenCL's words as names": lambda: edited("add(r,", "float local = r, global = 2.0f; add(r,"),
    "numeric limits": lambda: edited("add(r,", "r += numeric_limits<float>::max(); add(r,"),
    "select, clamp, min": lambda: edited(
        "add(r,", "r = select(clamp(r, 0.0f, 1.0f), min(r, 2.0f), r > 0.5f); add(r,"
    ),
}


@pytest.mark.parametrize("case", LEGAL)
def test_legal_variants(case):
    assert errors(LEGAL[case]()) == []


# (old, new, part of the message); the error must be at the edited line.
ILLEGAL = {
    "local pointer without space": (
        "device const Block* block = (device",
        "const Block* block = (device",
        "no address space",
    ),
    "cast drops device": (
        "(device const Block*)weight",
        "(const Block*)weight",
        "no address space",
    ),
    "parameter without space": ("thread const float* y)", "const float* y)", "no address space"),
    "template parameter without space": (
        "inline T first(device const T* from)",
        "inline T first(const T* from)",
        "no address space",
    ),
    "reference without space": (
        "inline void add(thread float& to",
        "inline void add(float& to",
        "no address space",
    ),
    "field without space": ("    half d;", "    const float* p; half d;", "no address space"),
    "alias without space": (
        "    float y[4];",
        "    typedef const float* P; float y[4];",
        "no address space",
    ),
    "result without space": (
        "inline void add",
        "inline const float* none() { return 0; } inline void add",
        "no address space",
    ),
    "device pointer from threadgroup": (
        "threadgroup float* row = tile",
        "device float* row = tile",
        "threadgroup float",
    ),
    "thread pointer from threadgroup": (
        "threadgroup float* row = tile",
        "thread float* row = tile",
        "threadgroup float",
    ),
    "threadgroup pointer from device": (
        "(device const uint4*)weight",
        "(threadgroup const uint4*)weight",
        "uint",
    ),
    "helper for another space": (
        "float r = dot4(block, y)",
        "float r = dot4(block, tile[0])",
        "dot4",
    ),
    "device pointer to a small input": (
        "add(r,",
        "device const half* p = bias; add(r,",
        "constant",
    ),
    "constant pointer to a large input": ("add(r,", "constant bfloat* p = x; add(r,", "device"),
    "implicit float to bfloat": ("out[i] = T(r +", "out[i] = (r +", "'="),
    "return float as bfloat": (
        "inline T first(device const T* from) { return from[0]; }",
        "inline T first(device const T* from) { return float(from[0]) * 2.0f; }",
        "return",
    ),
    "write through a const input": ("add(r,", "x[0] = T(1); add(r,", "'='"),
    "drop const of an input": ("add(r,", "device bfloat* p = x; add(r,", "const"),
    "write to a constant": ("add(r,", "LUT[0] = 1.0f; add(r,", "read-only"),
    "program-scope variable without constant": ("constant float LUT[4]", "float LUT[4]", ""),
    "double": ("add(r,", "double z = 1.0; add(r,", "double"),
    "half4 to float4": ("float4 v = float4(h)", "float4 v = h", ""),
    "unknown component": ("v.xy = v.zw", "v.xy = v.zz1", "zz1"),
    "too many components": ("float4(x[0], 2.0f,", "float4(x[0], 2.0f, 3.0f,", ""),
    "as_type of another size": ("as_type<half2>(words.y)", "as_type<half2>(words)", ""),
    "unknown name": (
        "thread_position_in_grid.x;",
        "thread_positon_in_grid.x;",
        "thread_positon_in_grid",
    ),
    "unknown function": ("simd_sum(r)", "simd_total(r)", "simd_total"),
    "std": ("add(r,", "r = std::max(r, 0.0f); add(r,", ""),
    "member": ("float(block->d)", "float(block->e)", "'e'"),
    "simdgroup_load from constant": (
        "simdgroup_load(m, &tile[0][0], 4)",
        "simdgroup_load(m, LUT, 4)",
        "simdgroup_load",
    ),
    "template argument of the wrong kind": ("x[k + K]", "x[k + K::value]", ""),
}


@pytest.mark.parametrize("case", ILLEGAL)
def test_illegal_mutations(case):
    old, new, message = ILLEGAL[case]
    unit = edited(old, new)
    found = errors(unit)
    assert found, "accepted"
    where = [n for n, line in enumerate(unit.text.splitlines(), 1) if new in line]
    at_line = [diagnostic for diagnostic in found if diagnostic.line in where]
    assert at_line, [str(diagnostic) for diagnostic in found]
    assert any(message in str(diagnostic) for diagnostic in at_line), list(map(str, at_line))
    assert unit.function in str(at_line[0]) and f":{at_line[0].line}:" in str(at_line[0])


def test_wrong_template_argument():
    unit = dataclasses.replace(UNIT, template=(("T", "bfloat16"), ("K", "float32")))
    assert errors(unit)
