"""The lexical rewrite of threadgroup declarations, and the wrapper around a kernel."""

from __future__ import annotations

import dataclasses

import pytest

from backends.mlx.metal.text.host_source import (
    entry_symbol,
    host_source,
    rewrite_threadgroup_declarations,
)
from backends.mlx.metal.text.unit import Unit


@pytest.mark.parametrize(
    "text, names",
    [
        ("threadgroup float a[32];", ["a"]),
        ("threadgroup float total;", ["total"]),
        ("threadgroup T a[N][M + 1], b;", ["a", "b"]),
        ("threadgroup  vec<float, 4>\n  a[8];\n", ["a"]),
        ("threadgroup metal::vec<T, 4> a[8 * (N / 2)];", ["a"]),
        ("alignas(16) threadgroup uchar a[8];", ["a"]),
        ("threadgroup /* tile */ half a[8]; // threadgroup half b[8];", ["a"]),
        ("if (x) { threadgroup int a[2]; threadgroup int b[2]; }", ["a", "b"]),
    ],
)
def test_declarations(text, names):
    rewritten = rewrite_threadgroup_declarations(text)
    for number, name in enumerate(names):
        memory = f'& {name} = msl::threadgroup_memory<{name}_storage_>({number}, "{name}");'
        assert memory in rewritten
    assert rewritten.count("threadgroup_memory<") == len(names)
    assert rewritten.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "threadgroup float* p = a;",
        "threadgroup const float* p;",
        "void f(threadgroup float* p, threadgroup T& x, threadgroup float (&y)[4]);",
        "x = *(threadgroup half2x4*)(p + 4);",
        "threadgroup_barrier(mem_flags::mem_threadgroup);",
        "// threadgroup float a[32];",
        "/* threadgroup float a[32];\n */",
        'log("threadgroup float a[32];");',
        "uint threadgroup_size[2];",
    ],
)
def test_what_is_no_declaration_stays(text):
    assert rewrite_threadgroup_declarations(text) == text


def test_lines_are_the_units_own():
    unit = Unit(
        "k",
        "// header\n",
        "threadgroup float\n  a[32];\nout[0] = a[0];",
        (),
        (("out", "float32"),),
        (("T", "float32"),),
    )
    other = dataclasses.replace(unit, template=(("T", "bfloat16"),))
    source = host_source([unit, other])
    assert source.count("// header") == 1
    for each in (unit, other):
        head, body = source.split(f' "{each.function}.metal"\n')
        first = int(head.rpartition("#line ")[2]) - 1
        for line, text in enumerate(each.definition.splitlines()[first:]):
            if "threadgroup" not in text and "a[32]" not in text:
                assert body.splitlines()[line] == text
        assert f"void {entry_symbol(each)}(" in source and each.key in entry_symbol(each)
    assert source.count('msl::threadgroup_memory<a_storage_>(0, "a")') == 2
