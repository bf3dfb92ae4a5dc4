"""The build tool: units file in; texts, report and libraries out; errors in one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from backends.mlx import metal
from backends.mlx.metal import build_library, libraries
from backends.mlx.metal import compile as compile_
from backends.mlx.metal.tests.testing import HERE, matmul, row_sum
from backends.mlx.metal.tests.testing import MATMUL as MATMUL_SUBJECT

ROW_SUM = {
    "name": "row_sum",
    "source": "row_sum.metal",
    "inputs": [["x", "float32", [3, 100]]],
    "outputs": [["out", "float32"]],
    "template": [["T", "float32"]],
}
MATMUL = {
    "name": "matmul",
    "headers": ["matmul.h"],
    "source": "matmul.metal",
    "inputs": [["a", "bfloat16", [9, 9]], ["b", "bfloat16", [9, 9]]],
    "outputs": [["out", "float32"]],
    "template": [["T", "bfloat16"]],
}


@pytest.fixture
def step(tmp_path):
    def run(name, *units, out="out"):
        file = tmp_path / "units.json"
        file.write_text(json.dumps({"units": list(units)}))
        status = build_library.main(
            [f"--units={file}", f"--root={HERE}", f"--step={name}", f"--out={tmp_path / out}"]
        )
        return status, tmp_path / out

    return run


def test_sources(step):
    status, out = step("sources", ROW_SUM, MATMUL)
    units = metal.load_units(out.parent / "units.json", HERE)
    assert status == 0
    assert {f.name for f in out.iterdir()} == {f"{unit.function}.metal" for unit in units}
    for unit in units:
        prelude, text = (out / f"{unit.function}.metal").read_text().split("bfloat16_t;\n", 1)
        assert prelude.startswith("#include <metal_stdlib>\n") and text == unit.text
    assert units[1].header.startswith("#include <metal_simdgroup_matrix>")


def test_address_report(step, capsys):
    status, out = step("address", ROW_SUM, MATMUL)
    assert (status, out.read_text()) == (0, "2 units, 0 errors\n")
    # Fewer than 8 elements: the input is constant, but the header wants a device pointer.
    small = {**MATMUL, "name": "small", "inputs": [MATMUL["inputs"][0], ["b", "bfloat16", [2, 2]]]}
    # Looked at together with matmul, of the same text but for its dtypes.
    status, out = step("address", ROW_SUM, MATMUL, small)
    assert status == 1
    first, last = out.read_text().splitlines()
    assert "custom_kernel_small" in first and "load_tile<T, TILE>(b_tile, b" in first
    assert last == "3 units, 1 errors" and first in capsys.readouterr().err


@pytest.mark.parametrize("build", compile_.BUILDS)
def test_libraries(step, build, monkeypatch):
    status, library = step(build, ROW_SUM, MATMUL, ROW_SUM, out=f"lib.{build}.so")
    assert status == 0
    # With the library, the unit it holds is not compiled again.
    monkeypatch.setattr(libraries, "_prebuilt", [])
    monkeypatch.setattr(libraries, "_entries", {})
    monkeypatch.setattr(compile_, "compile_just_in_time", None)
    metal.add_library(library)
    x = mx.ones((4, 70))
    if build == "checked":
        with metal.checked() as report:
            assert row_sum(x).tolist() == [70.0] * 4
        units = metal.load_units(library.parent / "units.json", HERE)
        assert report.keys == {units[0].key}
    else:
        assert row_sum(x).tolist() == [70.0] * 4
    with pytest.raises(TypeError):
        row_sum(x.astype(mx.float16))  # not in the library


@pytest.mark.parametrize(
    "right, wrong, place",
    [
        ("inside = r < rows && c", "inside = c", "T(from["),  # in the header
        ("if (r < M && c < N) out", "if (c < N) out", "if (c < N) out"),
    ],
)
def test_fault_in_a_library_of_several(right, wrong, place, tmp_path, monkeypatch):
    """Several units are compiled as one text: the line is that of the unit that ran."""
    subject = MATMUL_SUBJECT.edited(right, wrong)
    monkeypatch.setattr(libraries, "_prebuilt", [])
    monkeypatch.setattr(libraries, "_entries", {})
    shapes = (("a", (9, 9)), ("b", (9, 9)))
    units = [
        metal.Unit(
            subject.name,
            subject.header,
            subject.source,
            tuple((name, dtype, shape) for name, shape in shapes),
            (("out", "float32"),),
            (("T", dtype),),
        )
        for dtype in ("bfloat16", "float16", "float32")
    ]
    compile_.compile_library(units, "checked", tmp_path / "matmul.so")
    monkeypatch.setattr(compile_, "compile_just_in_time", None)
    metal.add_library(tmp_path / "matmul.so")
    for unit, dtype in zip(units, (mx.bfloat16, mx.float16, mx.float32), strict=True):
        a = mx.ones((9, 9), dtype)
        with metal.checked(), pytest.raises(metal.CheckError) as error:
            matmul(a, a, subject)
        assert (error.value.kernel, error.value.kind) == (unit.function, "out-of-bounds")
        assert error.value.line and place in error.value.source


def test_damaged_library_in_the_cache_is_made_anew(step):
    status, sources = step("sources", {**ROW_SUM, "name": "damaged"})
    [unit] = metal.load_units(sources.parent / "units.json", HERE)
    path = compile_.library_path(unit, "fast")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half a library")
    assert libraries.library_of(unit, "fast") == path
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("build", compile_.BUILDS)
def test_builds_are_reproducible(build, tmp_path):
    """In two folders, from two copies of the sources: every file has the same bytes."""

    def built(folder: Path) -> dict[Path, bytes]:
        copy = folder / "copy"
        for package in ("common", "metal"):
            shutil.copytree(HERE.parents[1] / package, copy / "backends/mlx" / package)
        (folder / "units.json").write_text(json.dumps({"units": [ROW_SUM]}))
        out = folder / "out"
        out.mkdir()
        steps = [
            ["--step", f"prepare-{build}", "--out", out / "prepared"],
            ["--step", build, "--out", out / "a.so", "--prepared", out / "prepared"],
        ]
        program = [sys.executable, "-m", "backends.mlx.metal.build_library"]
        units = ["--units", folder / "units.json", "--root", copy / "backends/mlx/metal/tests"]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), *sys.path])}
        for step in steps:
            subprocess.run([*program, *units, *step], env=environ, cwd=copy, check=True)
        return {
            path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()
        }

    first, second = built(tmp_path / "a"), built(tmp_path / "deeper" / "b")
    assert len(first) == 3
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.parametrize(
    "unit, message",
    [
        ({**ROW_SUM, "source": "absent.metal"}, "unit row_sum: .*absent.metal"),
        ({**ROW_SUM, "headers": ["absent.h"]}, "unit row_sum: .*absent.h: no such kernel source"),
        ({**ROW_SUM, "outputs": [["out", "half"]]}, "unit row_sum: .*unknown dtype 'half'"),
        ({"name": "row_sum"}, "unit row_sum: no 'source'"),
        ({"source": "row_sum.metal"}, "unit number 0: no 'name'"),
    ],
)
def test_bad_units_file(step, unit, message, capsys):
    status, out = step("fast", unit)
    error = capsys.readouterr().err
    assert status == 2 and not out.exists()
    assert error.startswith("build_library: ") and error.count("\n") == 1
    assert "units.json: " in error
    assert re.search(message, error), error


def test_no_units_file(tmp_path, capsys):
    arguments = ["--units", f"{tmp_path}/none.json", "--step", "fast", "--out", f"{tmp_path}/o"]
    assert build_library.main(arguments) == 2
    assert "none.json: not a units file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["address", "fast"])
def test_where_processes_have_no_cores_of_their_own(step, name, monkeypatch):
    """macOS: every step of a build that a Mac makes."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delenv("MLX_GGUF_METAL_THREADS", raising=False)
    status, out = step(name, ROW_SUM)
    assert status == 0 and out.exists()


@pytest.mark.parametrize("name", ["address", "fast"])
def test_bad_environment_variable(step, name, monkeypatch, capsys):
    monkeypatch.setenv("MLX_GGUF_METAL_THREADS", "0")
    status, out = step(name, ROW_SUM)
    message = "MLX_GGUF_METAL_THREADS: expected a number of at least 1, found '0'"
    assert (status, capsys.readouterr().err) == (2, f"build_library: {message}\n")
    assert not out.exists()


def test_compile_error(step, tmp_path, capsys):
    (tmp_path / "wrong.metal").write_text("out[0] = nothing;\n")
    status, out = step("fast", {**ROW_SUM, "source": str(tmp_path / "wrong.metal")})
    assert status == 1 and not out.exists()
    assert ".metal:5:10: error: 'nothing'" in capsys.readouterr().err


def test_wrong_libraries(tmp_path):
    with pytest.raises(ValueError, match="no kernel library"):
        metal.add_library(tmp_path)
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(ValueError, match="text.so: not a kernel library"):
        metal.add_library(tmp_path / "text.so")
    (tmp_path / "old.c").write_text("int msl_library_interface() { return 0; }\n")
    subprocess.run(
        ["g++", "-x", "c", "-shared", "-fPIC", tmp_path / "old.c", "-o", tmp_path / "old.so"],
        check=True,
    )
    with pytest.raises(ValueError, match="old.so: .*expected interface 4, found 0"):
        metal.add_library(tmp_path / "old.so")
