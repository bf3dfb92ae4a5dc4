"""Unit.text against what the installed MLX prints, byte for byte.

Exporting a function that calls a custom kernel makes MLX generate the kernel's text on a machine
without Metal; `verbose` prints it from C++, so the test reads file descriptor 1.
"""

from __future__ import annotations

import os
import tempfile

import mlx.core as mx
import pytest

from backends.mlx.metal.text.unit import ATTRIBUTES, METAL_TYPES, Unit, grouped


def mlx_dtype(name: str) -> mx.Dtype:
    return mx.bool_ if name == "bool" else getattr(mx, name)


def mlx_text(unit: Unit, directory) -> str:
    """The text MLX prints for a unit's kernel."""
    kernel = mx.fast.metal_kernel(
        name=unit.name,
        input_names=[name for name, _, _ in unit.inputs],
        output_names=[name for name, _ in unit.outputs],
        source=unit.source,
        header=unit.header,
        atomic_outputs=unit.atomic_outputs,
    )

    def call(*arrays):
        return tuple(
            kernel(
                inputs=list(arrays),
                template=[(n, mlx_dtype(v) if isinstance(v, str) else v) for n, v in unit.template],
                grid=(32, 1, 1),
                threadgroup=(32, 1, 1),
                output_shapes=[(4,)] * len(unit.outputs),
                output_dtypes=[mlx_dtype(dtype) for _, dtype in unit.outputs],
                verbose=True,
            )
        )

    arrays = [mx.zeros(shape, mlx_dtype(dtype)) for _, dtype, shape in unit.inputs]
    with tempfile.TemporaryFile() as captured:
        standard_output = os.dup(1)
        os.dup2(captured.fileno(), 1)
        try:
            mx.export_function(os.path.join(directory, "kernel.mlxfn"), call, *arrays)
        finally:
            os.dup2(standard_output, 1)
            os.close(standard_output)
        captured.seek(0)
        printed = captured.read().decode()
    start = f"Generated source code for `{unit.name}`:\n```\n"
    end = "\n```\n"
    assert printed.startswith(start) and printed.endswith(end), printed
    return printed[len(start) : -len(end)]


def unit(source="", inputs=(("x", "float32", (16,)),), outputs=(("out", "float32"),), **more):
    return Unit("case", more.pop("header", ""), source, inputs, outputs, **more)


ALL_MENTIONED = "\n".join(
    f"uint n_{a} = {name}_{a}[0];" for name in "abc" for a in ("shape", "strides", "ndim")
)
THREE = (("a", "float32", (2, 3)), ("b", "float16", ()), ("c", "bfloat16", (3, 4, 5)))

CASES = {
    **{f"dtype {d}": unit(inputs=(("x", d, (9,)),), outputs=(("out", d),)) for d in METAL_TYPES},
    **{
        f"shape {shape}": unit("x_shape x_strides x_ndim", (("x", "int32", shape),))
        for shape in [(), (0,), (1,), (7,), (8,), (2, 4), (7, 1), (1, 7), (2, 2, 2), (0, 9), (3, 3)]
    },
    **{f"attribute {name}": unit(f"uint v = uint({name});") for name in ATTRIBUTES},
    "all attributes": unit("\n".join(ATTRIBUTES)),
    "attribute within a longer name": unit("my_thread_position_in_grid_x"),
    "no mention": unit("out[0] = x[0];", THREE),
    "all mentioned": unit(ALL_MENTIONED, THREE),
    "mention in the header only": unit("", header="// x_shape thread_position_in_grid\n"),
    "mention in a comment": unit("// x_strides\n"),
    "header without a final newline": unit("", header="#define A 1"),
    "no inputs": unit("out[0] = 1;", ()),
    "no inputs, attribute": unit("out[thread_position_in_grid.x] = 1;", ()),
    "two outputs": unit(outputs=(("p", "float32"), ("q", "int64"))),
    "two outputs, shapes": unit("x_shape", outputs=(("p", "float32"), ("q", "int64"))),
    "three outputs, shapes, attribute": unit(
        "x_shape x_ndim grid_size",
        THREE,
        (("p", "float32"), ("q", "int64"), ("r", "bool")),
    ),
    "atomic": unit(atomic_outputs=True, outputs=(("p", "float32"), ("q", "int32"))),
    "template type": unit(template=(("T", "bfloat16"),)),
    "template int": unit(template=(("K", 4096),)),
    "template negative int": unit(template=(("K", -3),)),
    "template bool": unit(template=(("B", True), ("C", False))),
    "template all kinds": unit(
        "x_shape thread_position_in_grid",
        template=(("T", "bfloat16"), ("U", "float32"), ("K", -(2**31)), ("B", True), ("V", "bool")),
    ),
    "template and small inputs": unit("a_shape", THREE, template=(("T", "float16"), ("N", 1))),
    "unicode and tabs": unit("\t// µ\n\n  out[0] = 1;\n", header="// é\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_text_is_what_mlx_prints(case, tmp_path):
    assert CASES[case].text == mlx_text(CASES[case], tmp_path)


def test_text_differs_between_cases():
    texts = {case.text for case in CASES.values()}
    # Shapes with as many elements on the same side of 8, and of the same rank or not 0, agree.
    assert len(texts) > len(CASES) - 10


def test_key_is_a_hash_of_the_text():
    first = unit("a", (("x", "float32", (9,)),))
    assert first.key == unit("a", (("x", "float32", (400, 2)),)).key
    assert first.key != unit("a", (("x", "float32", (7,)),)).key
    assert len(first.key) == 32


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(inputs=(("x", "float64", (9,)),)), "case: x: unknown dtype 'float64', expected one"),
        (dict(outputs=(("o", "double"),)), "case: o: unknown dtype 'double'"),
        (dict(template=(("T", "half"),)), "case: T: unknown dtype 'half'"),
        (dict(template=(("K", 2**31),)), "case: template argument K: 2147483648 is not a 32-bit"),
        (dict(template=(("K", 1.5),)), "case: template argument K: expected an int, a bool or"),
        (dict(outputs=()), "case: expected at least one output"),
    ],
)
def test_bad_units(change, message):
    with pytest.raises(ValueError, match=message):
        unit(**change)


def test_groups():
    """One kernel's units, but for what could not be one text."""

    def of(source="out[0] = 1;", dtype="float32", header="// one\n", atomic=False):
        outputs = (("out", "float32"),)
        return Unit("k", header, source, (), outputs, (("T", dtype),), atomic)

    macro = "#define N 4\nout[0] = N;"
    one, half, body, header = of(), of(dtype="float16"), of("out[0] = 2;"), of(header="// two\n")
    macros = of(macro), of(macro, "float16")
    namesake = of(atomic=True)  # its function has the name of the first
    assert grouped([one, body, half, header, *macros, namesake]) == [
        [one, half],
        [body],
        [header],
        [macros[0]],
        [macros[1]],
        [namesake],
    ]
