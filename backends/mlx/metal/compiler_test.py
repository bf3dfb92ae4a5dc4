"""Which compiler is taken, and what is said of one that does not do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.mlx.metal import compiler
from backends.mlx.metal.compiler import CompileError, find


@pytest.fixture(autouse=True)
def not_of_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    declared = tmp_path / "compiler.json"
    monkeypatch.setattr(compiler, "_DECLARED", declared)
    return declared


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which the programs of `tmp_path` are found first."""
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_default(environ: dict[str, str]) -> None:
    found = find(environ)
    assert found.command == ("/usr/bin/g++",) and "g++" in found.version


def test_words_of_cxx(environ: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path, "cache", 'exec "$@"')
    found = find(environ | {"CXX": "cache g++ -pipe"})
    assert found.command == (str(tmp_path / "cache"), "/usr/bin/g++", "-pipe")


def test_that_of_the_build_comes_first(environ: dict[str, str], not_of_a_build: Path) -> None:
    not_of_a_build.write_text(json.dumps({"command": ["/opt/g++"], "version": "99"}))
    assert find(environ | {"CXX": "g++"}) == compiler.Compiler(("/opt/g++",), "99")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("echo clang", "found another compiler"),
        ('[ "$4" = - ] && exec g++ "$@" || { echo "a.cpp: error: no _Float16"; exit 1; }', "no _F"),
        # As g++ 13 and later would without the flag: what it compiles keeps half in float.
        (
            '[ "$3" = -E ] && exec g++ "$@"\n'
            "for last; do :; done\n"
            'sed "s/_Float16/float/" | g++ -x c++ - -o "$last"',
            "found one kept in float",
        ),
    ],
)
def test_unfit(environ: dict[str, str], tmp_path: Path, text: str, found: str) -> None:
    program(tmp_path, "odd++", text)
    with pytest.raises(CompileError, match=r"^odd\+\+: expected .*" + found) as caught:
        find(environ | {"CXX": "odd++"})
    assert "\n" not in str(caught.value)


def test_a_build_without_one(environ: dict[str, str], not_of_a_build: Path) -> None:
    """A Mac's: see host_compiler.bzl."""
    not_of_a_build.write_text(json.dumps({"command": [], "version": "none"}))
    with pytest.raises(CompileError, match="expected a build for Linux"):
        find(environ)


@pytest.mark.parametrize("name", ["absent++", "--flag"])
def test_none(environ: dict[str, str], name: str) -> None:
    with pytest.raises(CompileError, match="found no program"):
        find(environ | {"CXX": name})
