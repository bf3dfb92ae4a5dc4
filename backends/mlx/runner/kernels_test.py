"""MetalKernelNode through backends.mlx.metal: hand-made kernels, and ExecuTorch's own for Q4_K."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx import metal
from backends.mlx.metal import compile as compile_
from backends.mlx.metal import libraries
from backends.mlx.program import ProgramError
from backends.mlx.program.testing import GraphFile, IntOrVid, Vid, mlx_schema
from backends.mlx.runner import Runner
from backends.mlx.runner.interpreter import Interpreter

literal, slot = IntOrVid.from_literal, lambda index: IntOrVid.from_vid(Vid(index))

SCALE = (Path(__file__).parent / "testdata" / "scale.metal").read_text()
TABLE = np.array([1, 200, 3], np.uint8)


def scale_file(rows: int, **changes) -> GraphFile:
    """out = 3 * x + table, for a grid that the first dimension of x gives."""
    x = np.zeros((rows, 3), np.float32)
    file = GraphFile(constants={"table": TABLE}, inputs=[x], outputs=[x], values=2)
    fields = dict(
        name="scale",
        source=SCALE,
        inputs=[file.input(0), file.constant(0)],
        outputs=[file.output(0)],
        grid=[slot(1), literal(1), literal(1)],
        threadgroup=[literal(4), literal(1), literal(1)],
        input_names=["x", "table"],
        output_names=["out"],
        output_shapes_flat=[slot(0), literal(3)],
        output_shape_lengths=[2],
        output_dtypes=[6],
        template_arg_names=["OutT", "FACTOR"],
        template_arg_kinds=[2, 0],
        template_arg_values=[6, 3],
    )
    file.chains[0] += [
        mlx_schema.SymSizeNode(a=file.input(0), dim=0, out=Vid(0)),
        mlx_schema.MultiplyIntNode(a=slot(0), b=literal(3), out=Vid(1)),
        mlx_schema.MetalKernelNode(**(fields | changes)),
    ]
    return file


def test_kernel_runs_fast_and_checked(tmp_path):
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    runner = Runner(scale_file(5).write(tmp_path / "a.pte"))
    np.testing.assert_array_equal(np.array(runner(x)[0]), 3 * x + TABLE)
    with metal.checked() as report:
        np.testing.assert_array_equal(np.array(runner(x)[0]), 3 * x + TABLE)
    assert len(report.keys) == 1


def test_the_checkers_fault_reaches_the_caller(tmp_path):
    source = SCALE.replace("out[i]", "out[i + 1]")
    runner = Runner(scale_file(5, source=source).write(tmp_path / "a.pte"))
    with metal.checked(), pytest.raises(metal.CheckError, match="scale"):
        runner(np.zeros((5, 3), np.float32))


def test_constants_reach_kernels_as_views_of_the_file(tmp_path, monkeypatch):
    seen = []

    def spy(**names):
        def call(*, inputs, output_shapes, output_dtypes, **launch):
            seen.extend(inputs)
            return [mx.zeros(output_shapes[0], output_dtypes[0])]

        return call

    monkeypatch.setattr(metal, "metal_kernel", spy)
    runner = Runner(scale_file(5).write(tmp_path / "a.pte"))
    runner(np.zeros((5, 3), np.float32))
    assert isinstance(seen[0], mx.array)
    assert np.shares_memory(seen[1], runner.program.constant("table").view)


def test_sizes_known_at_the_call_are_checked(tmp_path):
    file = scale_file(5)
    file.chains[0][1].b = literal(0)
    runner = Runner(file.write(tmp_path / "a.pte"))
    message = r"instruction 2 MetalKernelNode: kernel 'scale': grid: .* above 0, found \[0, 1, 1\]"
    with pytest.raises(ProgramError, match=message):
        runner(np.zeros((5, 3), np.float32))


def test_dtypes_known_at_the_call_are_checked(tmp_path):
    file = scale_file(5, template_arg_names=["InT", "FACTOR"])
    file.temps = 1
    kernel = file.chains[0][2]
    cast = mlx_schema.AsTypeNode(x=file.input(0), out=file.temp(0), scalar_type=5)
    kernel.inputs[0] = file.temp(0)
    file.chains[0].insert(0, cast)
    runner = Runner(file.write(tmp_path / "a.pte"))
    with pytest.raises(ProgramError, match="InT: expected the dtype of 'x' .float16., found"):
        runner(np.zeros((5, 3), np.float32))


def branching_file() -> GraphFile:
    """scale_file's kernel behind a condition; the other branch triples with a kernel of its own."""
    file = scale_file(5)
    size, product, kernel = file.chains[0]
    other = dataclasses.replace(kernel, name="triple", source="out[0] = OutT(3);")
    file.chains[0] = [size, product, mlx_schema.IfNode(slot(0), 1, 2)]
    file.chains += [[kernel], [other]]
    return file


def test_prepare_builds_the_kernels_of_all_branches(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TEST_TMPDIR", str(tmp_path / "cache"))
    monkeypatch.setattr(libraries, "_entries", {})
    runner = Runner(branching_file().write(tmp_path / "a.pte"))
    with caplog.at_level("INFO", "backends.mlx.metal"):
        assert runner.prepare() == 2
    assert [record.message.split(",")[0] for record in caplog.records] == [
        "kernel 1 of 2: triple",
        "kernel 2 of 2: scale",
    ]
    # Nothing is compiled any more: not in this process, nor in one that finds the cache.
    monkeypatch.setattr(compile_, "compile_library", None)
    monkeypatch.setattr(libraries, "_entries", {})
    assert runner.prepare() == 2
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.testing.assert_array_equal(np.array(runner(x)[0]), 3 * x + TABLE)


def test_prepare_builds_kernels_for_few_rows_and_for_many(tmp_path, monkeypatch):
    """x of 1 row lies in another address space than x of 3: see metal.CONSTANT_BELOW."""
    file = scale_file(5)
    graph = file.graph()
    for meta in graph.tensor_meta:
        if list(meta.shape) and meta.shape[0].value == 5:
            meta.shape[0] = mlx_schema.ShapeDim(value=-1, min_value=1, max_value=5)
    runner = Runner(file.write(tmp_path / "a.pte", graph))
    monkeypatch.setattr(libraries, "_entries", {})
    assert runner.prepare() == 2
    monkeypatch.setattr(compile_, "compile_just_in_time", None)
    for rows in (1, 2, 3, 5):
        x = np.ones((rows, 3), np.float32)
        np.testing.assert_array_equal(np.array(runner(x)[0]), 3 * x + TABLE)


def test_prepare_leaves_it_to_mlx_on_a_mac(tmp_path, monkeypatch):
    runner = Runner(branching_file().write(tmp_path / "a.pte"))
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(libraries, "prepare", None)
    monkeypatch.setattr(Interpreter, "__call__", None)
    assert runner.prepare() == 0


def test_prepare_leaves_buffers_as_they_are(tmp_path):
    x = np.ones((2,), np.float32)
    file = GraphFile(inputs=[x], outputs=[x], mutable=[x])
    file.chains[0] += [
        mlx_schema.AddNode(a=file.buffer(0), b=file.input(0), out=file.buffer(0)),
        mlx_schema.IdCopyNode(x=file.buffer(0), out=file.output(0)),
    ]
    runner = Runner(file.write(tmp_path / "a.pte"))
    runner(x)
    assert runner.prepare() == 0
    assert runner(x)[0].tolist() == [2.0, 2.0]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upstream")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    exporter = [sys.executable, "-m", "backends.mlx.runner.testing_upstream", str(folder)]
    done = subprocess.run(exporter, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_upstream_q4_k_linear_takes_both_branches(upstream, monkeypatch):
    expected = np.load(upstream / "expected.npz")
    runner = Runner(upstream / "linear.pte")
    names = [node.name for node in runner.program.kernels()]
    assert sorted(names) == ["gguf_q4k_matmul", "gguf_q4k_matvec"]
    assert runner.program.node_counts()["IfNode"] == 1
    (blocks,) = [
        runner.program.constant(name).view
        for name, (_, dtype, _, _) in runner.program.constants().items()
        if dtype == "uint8"
    ]
    np.testing.assert_array_equal(blocks, expected["blocks"])

    chains = []
    run_chain = Interpreter.run_chain
    monkeypatch.setattr(
        Interpreter, "run_chain", lambda self, chain: (chains.append(chain), run_chain(self, chain))
    )
    # The mat-mat kernel narrows weights and activations to half.
    for rows, tolerance in ((1, 1e-5), (5, 2e-3)):
        (y,) = runner(expected[f"x{rows}"])
        want = expected[f"y{rows}"]
        assert np.abs(np.array(y) - want).max() <= tolerance * np.abs(want).max()
    assert len(set(chains)) == 3
