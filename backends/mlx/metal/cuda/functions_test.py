"""Which declarations are marked for the GPU."""

import pytest

from backends.mlx.metal.cuda.functions import mark_functions

MARKED = [
    "@inline float f(float x) { return x; }",
    "template <typename T, int N = (2 > 1)> @T f(T x) { return x; }",
    "@float prototype(float x);",
    "namespace a { namespace b { @inline void f() {} } @void g() {} }",
    "struct S { int a; @S(int v) : a(v) {} @int get() const { return a; } };",
    "struct S { int a; @S(int v) : a{v} {} @static int one() { return 1; } };",
    "template <typename T> struct S<T*> : Base<(1 > 0)> { @T get() { return {}; } };",
    "struct alignas(sizeof(int) * 2) S { int v[(2)]; @int operator[](uint i) { return 0; } };",
    "@bool operator==(S a, S b) { return true; }",
    "struct S { public: enum : uint { A = 1, B = A }; typedef int T; @T f() { return A; } };",
    "#constant float table[2] = {1.0f, 2.0f};",
    "namespace a { #constant half table[2] = {1, 2}; @half f() { return table[1]; } }",
    "@[[kernel]] void k(device float* x [[buffer(0)]]) { if (x) { x[0] = 1; } }",
]
UNMARKED = [
    "typedef half (*F)(int);",
    "using F = int(int);",
    'static_assert(sizeof(int) == 4, "{");',
    "constant int size = 3;",
    "struct S { static constant constexpr const int a = (1 + 2); S() = default; };",
    "enum class E { a = (1), b };",
    "#define F(x) \\\n  float x() { return 0; }\nint a;",
    "make_operators(+, plus);",
    "// float f() {}\nint a = 1; /* float g() {} */",
    "template <> struct Traits<int> { typedef int Type; };",
]


@pytest.mark.parametrize("text", MARKED)
def test_functions_and_constant_arrays(text):
    assert mark_functions(text.replace("@", "").replace("#", ""), "@", "#") == text


@pytest.mark.parametrize("text", UNMARKED)
def test_everything_else(text):
    assert mark_functions(text, "@", "#") == text


def test_unbalanced_text():
    with pytest.raises(ValueError, match="unbalanced '{'"):
        mark_functions("void f() { if (1) {")
