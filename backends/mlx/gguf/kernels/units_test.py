"""Every kernel that is built runs under the checker, and its struct fits the table."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.kernels import cases, units
from tools import metal

HERE = Path(kernels.__file__).parent
UNITS = units.units()


def ident(unit: dict) -> str:
    space = "small" if np.prod(unit["inputs"][-1][2]) < 8 else "large"
    dtypes = [dtype for _, dtype, _ in unit["inputs"]] + [unit["outputs"][0][1]]
    return "-".join([unit["name"], *dtypes, space])


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> list[metal.Unit]:
    """The units as `metal_library` reads them, in the order of UNITS."""
    path = tmp_path_factory.mktemp("units") / "units.json"
    path.write_text(json.dumps({"units": UNITS}))
    return metal.load_units(path, root=HERE)


def call(unit: dict) -> tuple[mx.array, np.ndarray, np.ndarray]:
    """Runs a unit's kernel. Returns the output, the exact one and the largest error."""
    fmt = next(f for f in formats.FORMATS.values() if f.name.lower() in unit["name"])
    (out_dtype,) = (dtype for _, dtype in unit["outputs"])
    inputs = {name: (dtype, shape) for name, dtype, shape in unit["inputs"]}
    outputs, row_bytes = inputs["weight"][1]
    blocks, exact, reach = cases.weight(fmt.name, outputs, fmt.columns(row_bytes))
    if "indices" in inputs:
        dtype, shape = inputs["indices"]
        indices = mx.arange(shape[0]).astype(getattr(mx, dtype))
        out = kernels.run_gather(fmt, blocks, indices, getattr(mx, out_dtype))
        expected = exact[: shape[0]]
        return out, expected, 0.5 * formats.ulp(expected, out_dtype)
    x = cases.activations("zero-mean", tuple(inputs["x"][1]), inputs["x"][0])
    expected = cases.as_float64(x) @ exact.T
    bias = None
    if "bias" in inputs:
        bias = cases.activations("zero-mean", (outputs,), inputs["bias"][0])
        expected = expected + cases.as_float64(bias)
    operation = next(o for o in reversed(kernels.LINEAR) if o in unit["source"])
    out = kernels.run_linear(fmt, x, blocks, bias, operation, getattr(mx, out_dtype))
    bound = formats.linear_bound(cases.as_float64(x), reach, expected, out_dtype)
    return out, expected, bound


@pytest.mark.parametrize("number", range(len(UNITS)), ids=lambda n: ident(UNITS[n]))
def test_unit_runs_checked_and_is_right(number, built):
    with metal.checked() as report:
        out, expected, bound = call(UNITS[number])
    assert report.keys == {built[number].key}
    assert (np.abs(cases.as_float64(out) - expected) <= bound).all()


def test_units_are_distinct(built):
    assert len({unit.key for unit in built}) == len(UNITS)
    assert len({unit.function for unit in built}) == len(UNITS)


def test_every_unit_is_compiled_ahead_of_time(built):
    """Under Bazel, where the metal_library lies beside the package."""
    prebuilt = {path.name for path in HERE.glob("metal.*.so")}
    if not prebuilt:
        pytest.skip("no metal_library beside the package: not run by Bazel")
    assert prebuilt == {"metal.checked.so", "metal.fast.so"}
    for unit in built:
        for mode in ("checked", "fast"):
            assert metal.library_of(unit, mode).name == f"metal.{mode}.so"


SIZES = """
    out[0] = sizeof(Format::Block);
    out[1] = Format::BYTES;
    out[2] = Format::WEIGHTS;
    out[3] = sizeof(Format::Word);
"""


@pytest.mark.parametrize("fmt", formats.FORMATS.values(), ids=formats.FORMATS)
def test_struct_fits_the_table(fmt):
    header = kernels.gather(fmt, "float32").header
    probe = metal.metal_kernel(f"sizes_{fmt.name}", [], ["out"], SIZES, header)
    (out,) = probe(
        inputs=[],
        output_shapes=[(4,)],
        output_dtypes=[mx.uint32],
        grid=(1, 1, 1),
        threadgroup=(1, 1, 1),
    )
    assert out.tolist()[:3] == [fmt.block_bytes, fmt.block_bytes, fmt.block_weights]
    assert fmt.alignment % out[3].item() == 0
