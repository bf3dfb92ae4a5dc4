"""Tests of `inspect` on GGUF files: what its object holds, what its tables show, and its speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backends.mlx.gguf import formats
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.testing import TENSORS, write, write_sample, write_split
from backends.mlx.gguf.command import inspect_file
from backends.mlx.gguf.command.inspection import gguf_file


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture):
    def run(*arguments: object) -> str:
        assert inspect_file.main([str(argument) for argument in arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def _cells(out: str, first: str) -> list[str]:
    """The cells of the only row that starts with `first`."""
    (row,) = [line for line in out.splitlines() if line.split("  ")[0] == first]
    return [cell.strip() for cell in row.split("  ") if cell.strip()]


def test_object(run, tmp_path: Path) -> None:
    path = write_sample(tmp_path / "sample.gguf")
    found = json.loads(run(path, "--json", "--tensors"))
    keys = ("format", "version", "files", "metadata", "types", "warnings", "tensors")
    assert tuple(found) == keys and found["warnings"] == []
    assert found["format"] == "gguf" and found["version"] == 3
    assert found["files"] == [{"path": str(path), "bytes": path.stat().st_size}]
    assert found["metadata"]["sample.flag"] is True
    assert found["metadata"]["tokenizer.ggml.scores"] == {"length": 3, "first": [0, -1.5, -2.5]}
    assert found["metadata"]["tokenizer.ggml.tokens"]["first"][1] == "\u2581a"
    types = {row["type"]: row for row in found["types"]}
    assert list(types) == ["Q4_K", "Q6_K", "F64", "F32"]
    assert types["Q4_K"] == {
        "type": "Q4_K",
        "tensors": 1,
        "experts": 0,
        "weights": 12 * 512,
        "bytes": 24 * 144,
        "bits_per_weight": 4.5,
        "fused": "kernel",
        "repack": "mlx",
        "form": {"mode": "affine", "bits": 4, "group": 32},
    }
    assert types["Q6_K"]["repack"] == "mlx_or_kernel"
    assert types["F64"]["fused"] is types["F64"]["repack"] is types["F64"]["form"] is None
    assert types["F32"]["fused"] == types["F32"]["repack"] == "dense"
    for row, info in zip(found["tensors"], GGUFFile(path).tensors.values(), strict=True):
        assert row == {
            "name": info.name,
            "shape": list(info.shape),
            "type": info.ggml_type,
            "bytes": info.nbytes,
            "offset": info.offset,
            "file": str(path),
        }


def test_every_type_has_a_path(tmp_path: Path) -> None:
    blocks = {
        fmt.name: (fmt.name, np.zeros((2, 3, fmt.row_bytes(256)), np.uint8))
        for fmt in formats.FORMATS.values()
    }
    path = write(tmp_path / "types.gguf", tensors=blocks)
    rows = gguf_file.describe(GGUFFile(path))["types"]
    assert [row["type"] for row in rows] == list(formats.FORMATS)
    for row, fmt in zip(rows, formats.FORMATS.values(), strict=True):
        assert row["bits_per_weight"] == fmt.bits_per_weight and row["fused"] == "kernel"
        assert row["experts"] == row["tensors"] == 1
        mode, bits, group, certain = formats.form(fmt)
        assert row["repack"] == ("mlx" if certain else "mlx_or_kernel")
        assert row["form"] == {"mode": mode, "bits": bits, "group": group}


def test_tables(run, tmp_path: Path) -> None:
    path = write_sample(tmp_path / "sample.gguf")
    out = run(path)
    assert out.startswith(f"{path}: GGUF version 3, {path.stat().st_size:,} bytes\n")
    assert _cells(out, "tokenizer.ggml.scores")[1] == "3 of [0.0, -1.5, -2.5]"
    assert _cells(out, "Q4_K") == [
        "Q4_K",
        "1",
        "0",
        "6,144",
        "3,456",
        "4.5",
        "kernel on the blocks",
        "affine, 4 bits, groups of 32",
    ]
    assert _cells(out, "F32")[-2:] == ["as it is", "as it is"]
    assert _cells(out, "F64")[-2:] == ["not supported", "not supported"]
    assert _cells(out, "Q6_K")[-1] == "affine, 6 bits, groups of 32 if groups agree, else kernel"
    sizes = [info.nbytes for info in GGUFFile(path).tensors.values()]
    assert _cells(out, "all")[4] == f"{sum(sizes):,}"
    assert "blk.0.attn_q.weight" not in out
    info = GGUFFile(path).tensors["blk.0.attn_q.weight"]
    assert _cells(run(path, "--tensors"), info.name) == [
        info.name,
        "Q4_K",
        "12 x 512",
        "3,456",
        f"{info.offset:,}",
    ]


def test_split_model(run, tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    found = json.loads(run(parts[1], "--json", "--tensors"))
    assert [file["path"] for file in found["files"]] == [str(path) for path in parts]
    assert [row["file"] for row in found["tensors"]] == [str(path) for path in parts]
    assert f"bytes in {len(TENSORS)} files\n" in run(parts[1])


def test_what_a_file_says_is_shown_not_obeyed(run, tmp_path: Path) -> None:
    metadata = {
        "a": "\x1b[2J\nnext" + "x" * 1000,
        "b": float("nan"),
        "c": [float("inf"), 1.0],
    }
    tensors = {"t\x1b[0m": np.zeros(4, np.float32)}
    path = write(tmp_path / "odd.GGUF", metadata, tensors)
    out = run(path, "--tensors")
    assert "\x1b" not in out and _cells(out, "a")[1].startswith(r"\x1b[2J\nnextxxx")
    assert len(_cells(out, "a")[1]) == 72 and _cells(out, "b")[1] == "nan"
    found = json.loads(run(path, "--json"), parse_constant=pytest.fail)
    assert found["metadata"]["b"] == "nan" and found["metadata"]["c"]["first"] == ["inf", 1.0]
    assert len(found["metadata"]["a"]) == 1009


_PROGRAM = """
import sys, time
start = time.monotonic()
from backends.mlx.gguf.command import inspect_file
assert inspect_file.main(sys.argv[1:]) == 0
heavy = {"torch", "executorch", "mlx", "transformers"} & sys.modules.keys()
print(time.monotonic() - start, *heavy, file=sys.stderr)
"""


def test_a_large_vocabulary_takes_no_time(tmp_path: Path) -> None:
    """As large as Gemma 3's. Nothing heavy is imported: torch alone would take too long."""
    tokens = [f"token {index}" for index in range(262144)]
    path = write(tmp_path / "vocabulary.gguf", {"tokenizer.ggml.tokens": tokens})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seconds, *heavy = result.stderr.split()
    assert float(seconds) < 2 and heavy == []
    assert "262,144 of ['token 0', 'token 1', " in result.stdout
