"""The whole tree is formatted, lint-free, typed where it says so, and imports as it may.

`./bazelw run //tools/lint:format` mends what can be mended.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools.lint import sources

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
CODE = {".bzl", ".cpp", ".cu", ".h", ".metal", ".py", ".sh"}


def run(command: list[str], **options) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        command,
        env=sources.environment() | options.pop("environ", {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_python_is_formatted():
    run(sources.ruff_command(ROOT, "format", "--check", *map(str, sources.python(ROOT))))


def test_python_is_free_of_lint():
    run(sources.ruff_command(ROOT, "check", *map(str, sources.python(ROOT))))


def test_cpp_and_metal_are_formatted():
    command = sources.clang_format_command(ROOT, "--assume-filename=x.cpp")
    wrong = [
        str(path.relative_to(ROOT))
        for path in sources.cpp(ROOT)
        if run(command, input=path.read_text()) != path.read_text()
    ]
    assert wrong == []


def test_files_are_short():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in sources.files(ROOT, CODE)
    }
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.fixture(scope="module")
def importable(tmp_path_factory) -> Path:
    """A copy of what can be imported, without the tests, which may import anything."""
    folder = tmp_path_factory.mktemp("importable")
    for path in sources.python(ROOT / "backends"):
        if not path.name.endswith("_test.py") and not path.name.startswith("testing"):
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


def test_imports_go_the_ways_of_the_architecture(importable):
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    path = sources.environment()["PYTHONPATH"]
    output = run(
        [sys.executable, "-c", script, "--no-cache", "--verbose"],
        cwd=importable,
        environ={"PYTHONPATH": f"{importable}:{path}"},
    )
    assert " 0 broken" in output


def test_a_wrong_import_is_found(importable, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(importable, folder)
    with (folder / "backends/mlx/runner/convert.py").open("a") as file:
        file.write("from backends.mlx.gguf import formats\n")
    with pytest.raises(AssertionError, match="runner is not allowed to import backends.mlx.gguf"):
        test_imports_go_the_ways_of_the_architecture(folder)


def test_the_public_surface_is_typed(importable):
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--cache-dir=/dev/null"]
    output = run(command, cwd=importable)
    assert output.startswith("Success: no issues found in")


def test_packages_of_the_public_surface_exist():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for package in settings["tool"]["mypy"]["packages"]:
        path = ROOT / package.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), package
