"""Tests of `verify` on a small file: what it reports, its exit status, and that it sees faults."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from backends.mlx.gguf import formats
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.testing import Shapes, Tensor, write, write_sample
from backends.mlx.gguf.command import verify
from backends.mlx.gguf.command.verification import probe
from backends.mlx.gguf.formats.testing import blocks as blocks_of

Q4_K, Q6_K = "blk.0.attn_q.weight", "blk.0.ffn_down.weight"


@pytest.fixture(scope="module", name="sample")
def _sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("gguf") / "sample.gguf")


@pytest.fixture(name="run")
def _run(
    sample: Path, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Runs `verify` on the sample; returns status, stdout and stderr, and checks it cleaned up."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = verify.main([str(sample), *arguments])
        assert list(tmp_path.iterdir()) == []
        return status, *capsys.readouterr()

    return run


def _row(out: str, ggml_type: str) -> list[str]:
    """The cells of the row of a table that `ggml_type` opens."""
    (line,) = re.findall(rf"^{ggml_type}  .*$", out, re.MULTILINE)
    return line.split()


def test_reports_every_type(run, sample: Path) -> None:
    status, out, err = run("--m", "1,5,33")
    assert (status, err) == (0, "")
    lines = [line for line in out.splitlines() if "; ok, " in line]
    assert [line.split(":")[0] for line in lines] == [f"{Q4_K} Q4_K 12x512", f"{Q6_K} Q6_K 7x256"]
    tensors = GGUFFile(sample).tensors
    for ggml_type, name, fused_for_lack in (("Q4_K", Q4_K, "0"), ("Q6_K", Q6_K, "1")):
        row = _row(out, ggml_type)
        info = tensors[name]
        assert row[1:4] == ["1", f"{info.weights:,}", f"{info.nbytes:,}"]
        assert all(info.nbytes < int(cell.replace(",", "")) for cell in row[4:6])
        assert 0 < float(row[6]) <= 1 and float(row[7]) < 1e-4 and row[8] == "0"
        assert row[-2:] == [fused_for_lack, "0"]
    assert 0 < float(_row(out, "Q4_K")[9]) <= 1
    assert _row(out, "Q6_K")[9:12] == ["-", "-", "-"]
    assert _row(out, "F64") == ["F64", "1", "256", "2,048"]
    assert _row(out, "F32") == ["F32", "1", "64", "256"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_other_activation_types(run, dtype: str) -> None:
    status, out, _ = run("--dtype", dtype, "--m", "3", "--types", "q4_k")
    assert status == 0
    relative = float(_row(out, "Q4_K")[7])
    step = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    assert step / 16 < relative <= step
    assert "Q6_K" not in out


def test_repack_error_against_exact_weights_is_reported(run) -> None:
    """Scales rounded to bfloat16 are far from exact: shown, but not held against the program."""
    status, out, _ = run("--dtype", "bfloat16", "--m", "3", "--tensors", Q4_K)
    row = _row(out, "Q4_K")
    assert status == 0 and float(row[9]) <= 1
    assert float(row[10]) > float(row[7])


@pytest.mark.parametrize("mode", ["fused", "repack"])
@pytest.mark.parametrize(
    ("output", "change"),
    [
        (0, lambda values: values * np.float32(1.01)),
        (0, lambda values: values * np.float32(np.nan)),
        (1, lambda values: np.nextafter(values, np.float32(np.inf)) + np.float32(1e-6)),
    ],
)
def test_a_wrong_output_is_seen(run, monkeypatch, mode: str, output: int, change) -> None:
    exporting, running = probe._export, probe._run
    exported = []

    def export(probed, mode, *rest):
        exported.append(mode.value)
        exporting(probed, mode, *rest)

    def run_changed(*arguments):
        outputs = running(*arguments)
        if exported[-1] == mode:
            outputs[output][-1, -1:] = change(outputs[output][-1, -1:])
        return outputs

    monkeypatch.setattr(probe, "_export", export)
    monkeypatch.setattr(probe, "_run", run_changed)
    status, out, err = run("--tensors", Q4_K, "--m", "1")
    assert status == 1 and exported == ["fused", "repack"]
    assert "WRONG" in out and _row(out, "Q4_K")[-1] == "1"
    assert err == f"verify: 1 of 1 tensors are wrong: {Q4_K}\n"


def test_one_wrong_bit_in_a_program_is_seen(run, monkeypatch) -> None:
    wrap = probe.GGUFTensor.from_blocks

    def damaged(blocks, *rest):
        blocks = blocks.clone()
        blocks[3, 200] ^= 1
        return wrap(blocks, *rest)

    monkeypatch.setattr(probe.GGUFTensor, "from_blocks", damaged)
    status, out, _ = run("--tensors", Q6_K, "--m", "1")
    assert status == 1 and "WRONG" in out and int(_row(out, "Q6_K")[8]) > 0


def _write(path: Path, shapes: Shapes) -> Path:
    """A file of tensors of `shapes`, of arbitrary quants."""
    tensors: dict[str, Tensor] = {}
    for name, (ggml_type, (*outer, columns)) in shapes.items():
        blocks = blocks_of(formats.get(ggml_type), math.prod(outer), columns)
        tensors[name] = (ggml_type, blocks.reshape(*outer, -1))
    return write(path, tensors=tensors)


_EXPERTS = {
    "blk.0.ffn_down_exps.weight": ("Q6_K", (3, 5, 256)),
    "blk.0.ffn_gate_exps.weight": ("Q4_K", (3, 7, 512)),
}
_FLOATS = {
    fmt.name.lower(): (fmt.name, (6, 256)) for fmt in formats.FORMATS.values() if fmt.mlx_mode
}


def test_experts_and_mlx_floats(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Tensors of three dimensions, and types that MLX's own modes hold exactly."""
    path = _write(tmp_path / "sample.gguf", _EXPERTS | _FLOATS)
    assert verify.main([str(path), "--m", "2,33", "--dtype", "bfloat16"]) == 0
    out = capsys.readouterr().out
    assert "blk.0.ffn_gate_exps.weight Q4_K 3x7x512: fused linear 0." in out
    assert _row(out, "Q6_K")[9:] == ["-", "-", "-", "1", "0"]
    for ggml_type, _ in _FLOATS.values():
        row = _row(out, ggml_type)
        # As exact as the fused path: no scale is rounded.
        assert 0 < float(row[10]) <= 2**-8 and row[8] == row[11] == "0"
        assert row[-2:] == ["0", "0"]


def test_a_swapped_expert_is_seen(tmp_path: Path, monkeypatch) -> None:
    """A program whose experts are not in their order multiplies by the wrong ones."""
    wrap = probe.GGUFTensor.from_blocks

    def swapped(blocks, *rest):
        return wrap(blocks.flip(0) if blocks.dim() == 3 else blocks, *rest)

    monkeypatch.setattr(probe.GGUFTensor, "from_blocks", swapped)
    path = _write(tmp_path / "sample.gguf", _EXPERTS)
    assert verify.main([str(path), "--m", "2", "--types", "q4_k"]) == 1


def test_a_program_of_the_wrong_mode_is_seen(run, monkeypatch) -> None:
    exporting = probe._export
    other = {probe.Mode.FUSED: probe.Mode.REPACK, probe.Mode.REPACK: probe.Mode.FUSED}
    monkeypatch.setattr(
        probe, "_export", lambda probed, mode, *rest: exporting(probed, other[mode], *rest)
    )
    status, out, _ = run("--tensors", Q4_K, "--m", "1")
    assert status == 1
    assert "fused program: expected Metal kernels, found none" in out
    assert "repack program: expected no Metal kernels, found Metal kernels" in out
