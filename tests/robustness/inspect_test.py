"""`inspect` on damaged files: exit status 2 and one line on stderr, for both kinds of file."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.testing import write_split
from backends.mlx.program.testing import GraphFile, mlx_schema


@pytest.fixture(name="inspect")
def _inspect(complaint):
    """Runs `inspect`; returns its one line of complaint."""
    return functools.partial(complaint, "inspect_file")


@pytest.fixture(scope="module", name="program")
def _program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of one node, that adds a constant."""
    vector = np.zeros(8, np.float32)
    file = GraphFile(constants={"one": vector + 1}, inputs=[vector], outputs=[vector])
    file.chains[0].append(
        mlx_schema.AddNode(a=file.input(0), b=file.constant(0), out=file.output(0))
    )
    return file.write(tmp_path_factory.mktemp("pte") / "program.pte")


@pytest.mark.parametrize("suffix", ["gguf", "pte"])
def test_unreadable_paths(inspect, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    assert inspect(path) == (
        f"inspect: {path}: file: expected a readable file, found No such file or directory"
    )
    path.mkdir()
    assert inspect(path) == (f"inspect: {path}: file: expected a regular file, found a directory")
    path.rmdir()
    os.mkfifo(path)
    assert inspect(path).endswith("expected a regular file, found another kind of file")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.gguf", b"", "file: expected a file with contents, found an empty file"),
        ("a.pte", b"", "file: expected a file with contents, found an empty file"),
        ("a.pte", b"12345678", "file size: expected at least 40 bytes, found 8"),
        ("a.gguf", b"GGML" + bytes(60), "magic: expected b'GGUF', found b'GGML'"),
        ("a.pte", b"ABCD" + bytes(60), "extended header magic: expected b'eh00', found b'"),
        ("a.pte", b"GGUF" + bytes(60), "version: expected 2 or 3, found 0"),
        (
            "a.bin",
            b"GGML",
            "expected a GGUF file or an exported program, found first bytes b'GGML'",
        ),
        ("a", b"GGUF", "version: expected 4 bytes at offset 4, found 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_other_content(
    inspect, tmp_path: Path, name: str, data: bytes, message: str, option: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert inspect(path, *option).startswith(f"inspect: {path}: {message}")


def test_gguf_cut_short(inspect, sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(sample.read_bytes()[: GGUFFile(sample).tensors["output_norm.weight"].offset])
    assert f"{path}: tensor 'output_norm.weight': expected 256 bytes for F32" in inspect(path)


def test_split_model_without_its_first_part(inspect, tmp_path: Path) -> None:
    first, *others = write_split(tmp_path)
    first.unlink()
    assert inspect(others[0]).startswith(f"inspect: {first}: file: expected it beside")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_program_cut_short(inspect, program: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "short.pte"
    data = program.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    line = inspect(path)
    assert line.startswith(f"inspect: {path}: ") and ": expected " in line and ", found " in line


def test_program_of_another_backend(inspect, program: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.pte"
    path.write_bytes(program.read_bytes().replace(b"MLXBackend", b"OwnBackend"))
    assert inspect(path).endswith("backend: expected MLXBackend, found OwnBackend")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: FILE"),
        (["a.gguf", "b.gguf"], "unrecognized arguments: b.gguf"),
        (["a.gguf", "--yaml"], "unrecognized arguments: --yaml"),
    ],
)
def test_bad_options(inspect, arguments: list[str], message: str) -> None:
    assert inspect(*arguments) == f"inspect: {message}"


def test_a_reader_that_stops_early(sample: Path, program: Path) -> None:
    """As `inspect FILE | head` does: no traceback."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for path in (sample, program):
        process = subprocess.Popen(
            [sys.executable, "-m", "backends.mlx.gguf.command.inspect_file", path],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == -signal.SIGPIPE
        process.stderr.close()
