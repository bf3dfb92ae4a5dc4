"""Every kernel that is built runs under the checker, and its struct fits the table."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal
from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.kernels import testing, units

HERE = Path(kernels.__file__).parent
BUILT = units.built()


def ident(found: units.Built) -> str:
    space = "small" if np.prod(found.inputs[-1][2]) < metal.CONSTANT_BELOW else "large"
    dtypes = [dtype for _, dtype, _ in found.inputs]
    tuning = [str(value) for _, value in found.kernel.launch.tuning]
    return "-".join([found.kernel.name, *tuning, *dtypes, found.out_dtype, space])


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> list[metal.Unit]:
    """The units as `metal_library` reads them, in the order of BUILT."""
    path = tmp_path_factory.mktemp("units") / "units.json"
    path.write_text(json.dumps({"units": [units.as_unit(found) for found in BUILT]}))
    return metal.load_units(path, root=HERE)


def call(found: units.Built) -> tuple[mx.array, np.ndarray, np.ndarray]:
    """Runs a kernel. Returns the output, the exact one and the largest error."""
    fmt, kernel, out_dtype = found.fmt, found.kernel, found.out_dtype
    inputs = {name: (dtype, shape) for name, dtype, shape in found.inputs}
    if inputs.keys() == {"x", "weight", "indices"}:
        return call_experts(found)
    outputs, row_bytes = inputs["weight"][1]
    columns = fmt.columns(row_bytes)
    blocks, exact, reach = testing.weight(fmt.name, outputs, columns)
    if "indices" in inputs:
        dtype, (count,) = inputs["indices"]
        indices = mx.arange(count).astype(getattr(mx, dtype))
        out = kernels.run_kernel(kernel, [blocks, indices], (count, columns), columns, count)
        expected = exact[:count]
        return out, expected, 0.5 * formats.ulp(expected, out_dtype)
    dtype, shape = inputs["x"]
    x = testing.activations("zero-mean", shape, dtype)
    expected = testing.as_float64(x) @ exact.T
    arguments = {"x": x, "weight": blocks}
    if "bias" in inputs:
        arguments["bias"] = testing.activations("zero-mean", (outputs,), inputs["bias"][0])
        expected = expected + testing.as_float64(arguments["bias"])
    ordered = [arguments[name] for name in kernel.input_names]
    out = kernels.run_kernel(kernel, ordered, (shape[0], outputs), outputs, shape[0])
    bound = formats.linear_bound(testing.as_float64(x), reach, expected, out_dtype)
    return out, expected, bound


def call_experts(found: units.Built) -> tuple[mx.array, np.ndarray, np.ndarray]:
    """As `call`, of a kernel of experts."""
    fmt, kernel = found.fmt, found.kernel
    (_, dtype, shape), (_, _, (experts, outputs, _)), (_, index_dtype, (count,)) = found.inputs
    blocks, exact, reach = testing.expert_weights(fmt.name, experts, outputs, shape[1])
    x = testing.activations("zero-mean", shape, dtype)
    ids = np.arange(count) % experts
    indices = mx.array(ids).astype(getattr(mx, index_dtype))
    m = experts if kernel.launch.per_expert else count
    out = kernels.run_kernel(kernel, [x, blocks, indices], (count, outputs), outputs, m)
    expected, bound = testing.experts_product(exact, reach, testing.as_float64(x), ids, dtype)
    return out, expected, bound


@pytest.mark.parametrize("number", range(len(BUILT)), ids=lambda n: ident(BUILT[n]))
def test_unit_runs_checked_and_is_right(number, built):
    with metal.checked() as report:
        out, expected, bound = call(BUILT[number])
    assert report.keys == {built[number].key}
    assert (np.abs(testing.as_float64(out) - expected) <= bound).all()


def test_units_are_distinct(built):
    assert len({unit.key for unit in built}) == len(BUILT)
    assert len({unit.function for unit in built}) == len(BUILT)


def test_every_unit_is_compiled_ahead_of_time(built):
    """Under Bazel, where the metal_library of each type lies beside the package."""
    prebuilt = {path.name for path in HERE.glob("*.so")}
    if not prebuilt:
        pytest.skip("no metal_library beside the package: not run by Bazel")
    names = [fmt.name.lower() for fmt in formats.FORMATS.values()]
    assert prebuilt == {f"{name}.{build}.so" for name in names for build in metal.BUILDS}
    for found, unit in zip(BUILT, built, strict=True):
        for build in metal.BUILDS:
            name = f"{found.fmt.name.lower()}.{build}.so"
            assert metal.library_of(unit, build).name == name


def test_types_bzl_lists_each_type_with_its_headers():
    """What Bazel compiles a type of: the table's types, each with all that its header includes."""
    listed = runpy.run_path(str(HERE / "types.bzl"))
    expected = {
        fmt.name.lower(): sorted(
            path
            for path in metal.included([HERE / "types" / fmt.header])
            if path.is_relative_to(HERE / "types")
        )
        for fmt in formats.FORMATS.values()
    }
    found = {
        name: sorted(HERE / "types" / header for header in headers)
        for name, headers in listed["TYPES"].items()
    }
    assert found == expected


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
