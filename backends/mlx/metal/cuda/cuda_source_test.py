"""The CUDA source of a unit: what is rewritten, and that nvcc takes it where there is nvcc."""

import shutil
import subprocess
from pathlib import Path

import pytest

from backends.mlx import metal
from backends.mlx.metal.cuda import INCLUDE_DIRS, cuda_source, entry_symbol

SOURCE = (Path(__file__).parent / "testdata" / "probe.metal").read_text()


def unit(dtype="float16", **arguments) -> metal.Unit:
    return metal.Unit(
        "probe",
        "#include <metal_stdlib>\nusing namespace metal;\n",
        SOURCE,
        [("x", dtype, (64, 64)), ("scale", "float32", ())],
        [("out", dtype)],
        {"T": dtype, "N": 3, **arguments}.items(),
    )


def test_rewrites():
    text = cuda_source([unit()])
    assert "__shared__ float shared[32];" in text
    assert '_Pragma("unroll") for' in text
    assert "[[" not in text
    assert "msl::by_value<int> x_shape_" in text
    assert "msl::by_value<float> scale_" in text
    assert "scale_.values[0]" in text


def test_instances_share_the_text():
    units = [unit(N=3), unit(N=4)]
    text = cuda_source(units)
    assert text.count("__shared__") == 1
    for each in units:
        assert text.count(f"void {entry_symbol(each)}(") == 1


def test_other_texts_are_refused():
    with pytest.raises(ValueError, match="instances of one text"):
        cuda_source([unit("float16"), unit("bfloat16")])


def test_attribute_without_cuda_form():
    text = "out[0] = dispatch_simdgroups_per_threadgroup;"
    with pytest.raises(ValueError, match="dispatch_simdgroups_per_threadgroup has no CUDA form"):
        cuda_source([metal.Unit("probe", "", text, [], [("out", "uint32")])])


@pytest.mark.skipif(not shutil.which("nvcc"), reason="needs nvcc")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("promises", [[], ["-DMSL_ALIGNED_PACKED", "-DMSL_FLOATS_FIT=half"]])
def test_nvcc_compiles_it(tmp_path, dtype, promises):
    source = tmp_path / "probe.cu"
    source.write_text(cuda_source([unit(dtype)]))
    command = ["nvcc", "-std=c++17", "--expt-relaxed-constexpr", "-arch=sm_90", "-cubin", *promises]
    command += [f"-I{folder}" for folder in INCLUDE_DIRS]
    done = subprocess.run(
        [*command, source, "-o", tmp_path / "probe.cubin"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
