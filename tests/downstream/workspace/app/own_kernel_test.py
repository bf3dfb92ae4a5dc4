"""Runs a kernel that this workspace compiled with mlx_gguf's metal_library."""

from pathlib import Path

import numpy

from backends.mlx import metal

HERE = Path(__file__).parent


def run(x):
    (unit,) = metal.load_units(HERE / "own.json")
    kernel = metal.metal_kernel(unit.name, ["x"], ["out"], unit.source, unit.header)
    (out,) = kernel(
        inputs=[x],
        output_shapes=[x.shape],
        output_dtypes=[x.dtype],
        grid=(x.size, 1, 1),
        threadgroup=(4, 1, 1),
    )
    return numpy.asarray(out)


def test_fast():
    metal.add_library(HERE / "own.fast.so")
    x = numpy.arange(16, dtype=numpy.float32)
    assert (run(x) == 2 * x).all()


def test_checked():
    metal.add_library(HERE / "own.checked.so")
    x = numpy.arange(16, dtype=numpy.float32)
    with metal.checked() as report:
        assert (run(x) == 2 * x).all()
    assert len(report.keys) == 1


def test_library_offers_its_files():
    paths = (HERE / "own_files.txt").read_text().split()
    assert {Path(path).name for path in paths} == {
        "own.h",
        "own.sources",
        "own.checked.so",
        "own.fast.so",
    }
