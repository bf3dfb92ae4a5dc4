"""flatten: each quoted include becomes the file's text, once."""

from __future__ import annotations

import pytest

from backends.mlx.metal.text.flatten import flatten


@pytest.fixture
def tree(tmp_path):
    files = {
        "kernel.h": '#pragma once\n#include <metal_stdlib>\n#include "common/a.h"\nint kernel;\n',
        "common/a.h": '#include "b.h"\nint a;\n',
        "common/b.h": "#pragma once\nint b;",
        "lib/lib.h": "int lib;\n",
        "uses_lib.h": '  #  include "lib.h"  // from an include folder\n#include "common/b.h"\n',
        "missing.h": '\n#include "nothing.h"\n',
        "cycle.h": '#include "cycle.h"\nint cycle;\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_nested_includes(tree):
    assert flatten([tree / "kernel.h"]) == "#include <metal_stdlib>\nint b;\nint a;\nint kernel;\n"


def test_a_file_appears_once(tree):
    text = flatten([tree / "kernel.h", tree / "common/../common/b.h", tree / "kernel.h"])
    assert text.count("int b;") == text.count("int kernel;") == 1


def test_include_folders(tree):
    assert flatten([tree / "uses_lib.h"], [tree / "lib"]) == "int lib;\nint b;\n"


def test_a_file_may_include_itself(tree):
    assert flatten([tree / "cycle.h"]) == "int cycle;\n"


def test_missing_files(tree):
    with pytest.raises(ValueError, match='missing.h:2: include "nothing.h" not found in .*lib'):
        flatten([tree / "missing.h"], [tree / "lib"])
    with pytest.raises(ValueError, match="absent.h: no such kernel source"):
        flatten([tree / "absent.h"])
