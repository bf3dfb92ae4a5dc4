"""Tests of `inspect` on programs: hand-made graphs, and real ones of both modes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backends.mlx.gguf.card import CARD
from backends.mlx.gguf.command import inspect_file
from backends.mlx.gguf.command.inspection import pte_file
from backends.mlx.gguf.formats import FORMATS
from backends.mlx.gguf.kernels import OPERATIONS, KernelName, units
from backends.mlx.gguf.lowering import export_module, testing
from backends.mlx.program import Program, ProgramError
from backends.mlx.program.testing import GraphFile, IntOrVid, Vid, mlx_schema

VALUES = {"version": "1", "lowering": "fused", "max_seq_len": 128}


def test_names_of_all_kernels_that_are_built() -> None:
    for built in units.built():
        name = KernelName.parse(built.kernel.name)
        assert name.ggml_type == built.fmt.name
        assert name.bias == ("bias" in built.kernel.input_names)
        assert OPERATIONS[name.operation].file == Path(built.kernel.body).stem
    assert KernelName.parse("steel_gemm") is None


def _kernel(file: GraphFile, name: str, columns: int) -> mlx_schema.MetalKernelNode:
    size = IntOrVid.from_literal
    return mlx_schema.MetalKernelNode(
        name=name,
        source="",
        header="",
        inputs=[file.input(0), file.constant(0)],
        outputs=[file.output(0)],
        input_names=["x", "weight"],
        output_names=["out"],
        grid=[size(columns), IntOrVid.from_vid(Vid(0)), size(1)],
        threadgroup=[size(32), size(1), size(1)],
        output_shapes_flat=[size(2), size(3)],
        output_shape_lengths=[2],
        output_dtypes=[6],
        template_arg_names=["InT", "ROWS", "SPLIT_K"],
        template_arg_kinds=[2, 0, 1],
        template_arg_values=[6, 4, 1],
    )


@pytest.fixture(scope="module", name="program")
def _program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Three uses of a kernel, one of another; a constant under two names; a buffer; a card."""
    constants = {
        "blocks": np.zeros((3, 144), np.uint8),
        "norm": np.ones(4, np.float32),
        "same": np.ones(4, np.float32),
    }
    file = GraphFile(
        constants=constants,
        inputs=[np.zeros((2, 256), np.float32)],
        outputs=[np.zeros((2, 3), np.float32)],
        mutable=[np.zeros((1, 4, 8), np.float16)],
        values=1,
        int_inputs=(0,),
    )
    file.chains[0] += [_kernel(file, "gguf_q4_k_qmv", 64)] * 3
    file.chains[0] += [_kernel(file, "gguf_q4_k_qmv", 32), _kernel(file, "own", 32)]
    graph = file.graph()
    graph.tensor_meta[3].shape[0] = mlx_schema.ShapeDim(value=-1, min_value=1, max_value=2)
    graph.tensor_meta[4].shape[0] = mlx_schema.ShapeDim(value=-1, min_value=1)
    # Named data that no slot of the graph mentions.
    file.constants = constants | {
        CARD: np.frombuffer(json.dumps(VALUES).encode(), np.uint8),
        "mlx_gguf/tokenizer.json": np.zeros(7, np.uint8),
    }
    return Program(file.write(tmp_path_factory.mktemp("pte") / "model.pte", graph))


@pytest.fixture(scope="module", name="found")
def _found(program: Program) -> dict:
    return pte_file.describe(program, with_tensors=True)


def test_keys(found: dict, program: Program) -> None:
    assert list(found) == [
        "format",
        "path",
        "bytes",
        "card",
        "methods",
        "constant_methods",
        "nodes",
        "kernels",
        "constants",
        "named_data",
        "tensors",
    ]
    assert found["format"] == "pte" and found["bytes"] == program.path.stat().st_size
    assert "tensors" not in pte_file.describe(program)
    assert json.loads(json.dumps(found)) == found


def test_methods(found: dict) -> None:
    (method,) = found["methods"]
    assert method["name"] == "forward" and method["operators"] == []
    assert method["delegates"] == [
        {"backend": "MLXBackend", "chains": 1, "instructions": 5, "constants": 3}
    ]
    assert method["inputs"] == [
        {"dtype": "float32", "shape": [{"min": 1, "max": 2}, 256]},
        {"dtype": "int", "shape": None},
    ]
    assert method["outputs"] == [{"dtype": "float32", "shape": [{"min": 1, "max": None}, 3]}]
    (buffer,) = method["buffers"]
    assert (buffer["dtype"], buffer["shape"], buffer["bytes"]) == ("float16", [1, 4, 8], 64)


def test_kernels(found: dict) -> None:
    assert found["nodes"] == {"MetalKernelNode": 5}
    first, second, foreign = found["kernels"]
    assert first == {
        "name": "gguf_q4_k_qmv",
        "type": "Q4_K",
        "operation": "qmv",
        "bias": False,
        "template": {"InT": "float32", "ROWS": 4, "SPLIT_K": True},
        "grid": [64, None, 1],
        "threadgroup": [32, 1, 1],
        "uses": 3,
    }
    assert second == first | {"grid": [32, None, 1], "uses": 1}
    assert foreign == second | {"name": "own", "type": None, "operation": None, "bias": None}


def test_constants(found: dict) -> None:
    constants = found["constants"]
    assert (constants["count"], constants["names"], constants["bytes"]) == (2, 3, 3 * 144 + 16)
    assert {group["holds"]: (group["type"], group["bytes"]) for group in constants["groups"]} == {
        "gguf": ("Q4_K", 3 * 144),
        "dense": ("float32", 16),
    }
    assert [item["name"] for item in constants["largest"]] == ["blocks", "norm"]
    assert [item["name"] for item in found["tensors"]] == ["blocks", "norm", "same"]
    offsets = [item["offset"] for item in found["tensors"]]
    alignment = constants["alignment"]
    assert alignment >= 16 and not any(offset % alignment for offset in offsets)
    assert any(offset % (2 * alignment) for offset in offsets)
    assert found["tensors"][0]["shape"] == [3, 144]


def test_card_and_named_data(found: dict) -> None:
    assert found["card"] == VALUES
    assert {item["name"]: item["bytes"] for item in found["named_data"]} == {
        CARD: len(json.dumps(VALUES)),
        "mlx_gguf/tokenizer.json": 7,
    }


def test_tables(found: dict, program: Program, capsys: pytest.CaptureFixture) -> None:
    assert inspect_file.main([str(program.path), "--tensors"]) == 0
    out, _ = capsys.readouterr()
    assert out == f"{pte_file.text(found)}\n"
    rows = [line.split() for line in out.splitlines()]
    assert ["max_seq_len", "128"] in rows
    assert ["input", "0", "float32", "1..2", "x", "256", "-"] in rows
    assert ["output", "0", "float32", "1..", "x", "3", "-"] in rows
    assert ["buffers,", "1", "float16", "1", "x", "4", "x", "8", "64"] in rows
    assert ["-", "float16", "1", "x", "4", "x", "8", "64"] in rows
    assert [
        "Q4_K",
        "qmv",
        "no",
        "InT=float32",
        "ROWS=4",
        "SPLIT_K=1",
        *["64", "x", "n", "x", "1"],
        *["32", "x", "1", "x", "1"],
        "3",
    ] in rows
    assert ["all,", "under", "3", "names", "2", "448"] in rows
    assert f"at multiples of {found['constants']['alignment']:,} bytes in the file" in out
    assert ["mlx_gguf/tokenizer.json", "7"] in rows


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (b"{", "expected JSON, found"),
        (b"\xff", "expected JSON, found"),
        (b"[]", "expected a JSON object, found list"),
    ],
)
def test_a_bad_card(tmp_path: Path, card: bytes, message: str) -> None:
    file = GraphFile(inputs=[np.zeros(1, np.float32)], outputs=[np.zeros(1, np.float32)])
    file.chains[0].append(mlx_schema.IdCopyNode(x=file.input(0), out=file.output(0)))
    graph = file.graph()
    file.constants = {CARD: np.frombuffer(card, np.uint8)}
    path = file.write(tmp_path / "card.pte", graph)
    with pytest.raises(ProgramError) as caught:
        pte_file.describe(Program(path))
    assert str(caught.value).startswith(f"{path}: named data '{CARD}': {message}")


def test_damaged_programs_are_refused_in_one_line(program: Program, tmp_path: Path) -> None:
    """Whatever `Program` lets pass, as it does not run anything, stays an error of one line."""
    data = np.frombuffer(program.path.read_bytes(), np.uint8)
    path = tmp_path / "damaged.pte"
    errors = 0
    for position in range(0, data.size, 5):
        damaged = data.copy()
        damaged[position] ^= 0x41
        path.write_bytes(damaged.tobytes())
        try:
            pte_file.text(pte_file.describe(Program(path), with_tensors=True))
        except ProgramError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            errors += 1
    assert errors > 20


class _Network(nn.Module):
    """A table that is embedding and head, and a linear with a bias between."""

    def __init__(self) -> None:
        super().__init__()
        table = testing.quantize("Q4_K", 48, 256)
        self.embedding = testing.embedding(table, "Q4_K", torch.float32)
        self.up = testing.linear(
            testing.quantize("Q8_0", 256, 256), "Q8_0", torch.float32, torch.zeros(256)
        )
        self.head = testing.linear(table, "Q4_K", torch.float32)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(self.embedding(indices)))


def _exported(path: Path, mode: str) -> dict:
    export_module(
        _Network().eval(),
        (torch.zeros(1, 1, dtype=torch.int64),),
        path,
        mode=mode,
        constant_methods={"get_max_seq_len": 64, "get_eos_ids": [2, 7]},
    )
    return pte_file.describe(Program(path))


def test_fused_program(tmp_path: Path) -> None:
    found = _exported(tmp_path / "fused.pte", "fused")
    assert [method["name"] for method in found["methods"]] == ["forward"]
    assert found["constant_methods"] == {
        "get_max_seq_len": 64,
        "get_eos_ids": {"length": 2, "first": [2, 7]},
    }
    assert "2 of [2, 7]" in pte_file.text(found)
    assert [
        (kernel["type"], kernel["operation"], kernel["bias"]) for kernel in found["kernels"]
    ] == [("Q4_K", "gather", False), ("Q8_0", "qmv", True), ("Q4_K", "qmv", False)]
    # MLX takes what starts at a page of a mapped file without a copy.
    assert found["constants"]["alignment"] >= 16384
    groups = {group["type"]: group for group in found["constants"]["groups"]}
    assert groups["Q4_K"] == {"holds": "gguf", "type": "Q4_K", "count": 1, "bytes": 48 * 144}
    assert groups["Q8_0"]["bytes"] == 256 * 8 * 34 and groups["float32"]["holds"] == "dense"


def test_repacked_program(tmp_path: Path) -> None:
    """The looked-up table is one of affine values too, though a TakeNode reads it first."""
    found = _exported(tmp_path / "repack.pte", "repack")
    assert found["kernels"] == []
    groups = {
        (group["holds"], group["type"]): group["bytes"] for group in found["constants"]["groups"]
    }
    assert groups == {
        ("affine", "uint32"): 48 * 128 + 256 * 256,
        ("dense", "float32"): 1024,
        ("affine", "float32"): (48 + 256) * 8 * 2 * 4,
    }


FLOATS = [fmt for fmt in FORMATS.values() if fmt.mlx_mode]


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda fmt: fmt.name)
def test_program_repacked_in_a_float_mode(tmp_path: Path, fmt) -> None:
    module = testing.linear(testing.quantize(fmt.name, 8, 256), fmt.name, torch.float32)
    export_module(module, (torch.zeros(1, 256),), tmp_path / "floats.pte", mode="repack")
    found = pte_file.describe(Program(tmp_path / "floats.pte"))
    groups = {
        (group["holds"], group["type"]): group["bytes"] for group in found["constants"]["groups"]
    }
    assert groups == {
        (fmt.mlx_mode, "uint32"): 8 * 128,
        (fmt.mlx_mode, "uint8"): 8 * 256 // fmt.group,
    }
    assert f"uint8 of MLX's {fmt.mlx_mode} quantization" in pte_file.text(found)
