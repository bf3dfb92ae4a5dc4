"""What reaches what, as Bazel sees it: no command waits for kernels that it does not run."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILED = re.compile(r"//backends/mlx/gguf/kernels:(library|runtime|\w+_library|\w+_kernels)")


def deps(name: str) -> set[str]:
    if "RUNFILES_DIR" not in os.environ and "TEST_SRCDIR" not in os.environ:
        pytest.skip("Bazel's answers are there only where Bazel runs this")
    return set((HERE / f"{name}.deps").read_text().split())


def compiled(name: str) -> set[str]:
    return {label for label in deps(name) if COMPILED.fullmatch(label)}


@pytest.mark.parametrize("command", ["export", "inspect"])
def test_reaches_no_compiled_kernel(command: str) -> None:
    assert "//backends/mlx/gguf/kernels:sources" in deps(command)
    assert compiled(command) == set()


def test_demo_reaches_those_of_the_types_in_its_file() -> None:
    kernels = "//backends/mlx/gguf/kernels:"
    types = ("q4_1", "q8_0")
    assert compiled("demo") == {
        f"{kernels}{type}_{kind}" for type in types for kind in ("kernels", "library")
    }


def test_library_has_all_kernels() -> None:
    assert "//backends/mlx/gguf/kernels:runtime" in compiled("library")


def test_users_need_no_test_and_no_benchmark() -> None:
    assert [label for label in deps("users") if re.match("//(tests|bench|docs)[/:]", label)] == []
