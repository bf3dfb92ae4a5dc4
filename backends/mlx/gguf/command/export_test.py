"""`export` as its user meets it: a program that runs, and errors that leave nothing behind."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from executorch.exir import ExecutorchProgramManager

from backends.mlx.gguf.command import export, generate, inspect_file
from backends.mlx.gguf.generation.model_file import ModelFile
from backends.mlx.gguf.model.testing import MODELS
from backends.mlx.metal import compile as compile_
from backends.mlx.metal import libraries
from backends.mlx.program import Program


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    MODELS["llama"]().write(path)
    return path


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    """A fused program, and what `export` printed to stdout and to stderr."""
    output = tmp_path_factory.mktemp("exported") / "tiny.pte"
    arguments = ["--dtype", "f32", "--max-seq-len", "64", "--lowering", "fused"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert export.main([str(source), "-o", str(output), *arguments]) == 0
    return output, out.getvalue(), err.getvalue()


def test_export_and_inspect(exported, capsys):
    output, out, err = exported
    assert "1 delegate" in out and "Q4_K" in out and "ET_MLX_ALLOW_CUSTOM_KERNEL" in out
    assert err.splitlines()[-1].startswith("writing ...")
    facts = Program(output).constant_methods()
    assert facts["get_max_context_len"] == 64 and facts["use_kv_cache"]
    assert inspect_file.main([str(output)]) == 0
    assert "llama" in capsys.readouterr().out


def test_generate_compiles_kernels_only_at_load(exported, capsys, monkeypatch):
    """In neither prefill nor decode; and a second start finds them all in the cache."""
    compile_kernel, load = compile_.compile_just_in_time, ModelFile.session

    def session(model):
        loaded = load(model)
        # Whoever needs another kernel from now on fails, even if the cache has it.
        monkeypatch.setattr(compile_, "compile_just_in_time", None)
        return loaded

    monkeypatch.setattr(ModelFile, "session", session)
    monkeypatch.setattr(libraries, "_prebuilt", [])
    for _ in range(2):
        monkeypatch.setattr(libraries, "_entries", {})
        monkeypatch.setattr(compile_, "compile_just_in_time", compile_kernel)
        # More rows in the prefill than the mat-vec takes.
        arguments = ["--raw", "--prompt", "hello " * 12, "--max-tokens", "3"]
        assert generate.main([str(exported[0]), *arguments]) == 0
        err = capsys.readouterr().err
        assert "prefill" in err and "decode" in err
        monkeypatch.setattr(compile_, "compile_library", None)
    assert err.startswith("load ")


def test_repack(source, tmp_path, capsys):
    """The summary lists only the kernels that are left: of types without an affine form."""
    output = tmp_path / "tiny.pte"
    assert export.main([str(source), "-o", str(output), "--lowering", "repack"]) == 0
    out = capsys.readouterr().out
    assert "repack" in out and "1 delegate" in out and "Q4_K" not in out and "Q6_K" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--max-seq-len", "4096"], "at most the model's context, 512, found 4096"),
        (["--max-seq-len", "0"], "expected a number of at least 1, found '0'"),
        (["--dtype", "f8"], "invalid choice"),
        (["-o", "missing/tiny.pte"], "missing/tiny.pte: expected a folder to write it into"),
        (["-o", "."], "expected a file to write, found a folder"),
        (["-o", "/dev/null"], "/dev/null: expected a file to write, found another kind of file"),
        (["-o", "/proc/tiny.pte"], "/proc/tiny.pte: expected a folder that can be written to"),
    ],
)
def test_bad_requests(arguments, message, source, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    assert export.main([str(source), *arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("export: ") and message in last
    assert list(tmp_path.iterdir()) == []


def test_output_onto_its_source(source, capsys):
    before = source.read_bytes()
    assert export.main([str(source), "-o", str(source)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"export: {source}: expected another file than the checkpoint, found the same"
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    "whole, damaged, message",
    [
        (
            b"tokenizer.ggml.tokens",
            b"tokenizer.ggml.tokenz",
            "metadata 'tokenizer.ggml.tokens': expected an array of strings, found no such key",
        ),
        (
            b"llama.rope.freq_base",
            b"llama.rope.freq_bass",
            "metadata 'llama.rope.freq_bass': expected a key that this project reads, found 10000",
        ),
        (b"llama", b"mamba", "general.architecture: expected one of llama, "),
        (
            b"output_norm.weight",
            b"output_norm.weighs",
            "tensor output_norm.weight: expected a tensor for model.norm.weight, found no such",
        ),
    ],
)
def test_damaged_files(whole, damaged, message, source, tmp_path, capsys):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(source.read_bytes().replace(whole, damaged, 1))
    assert export.main([str(bad), "-o", str(tmp_path / "tiny.pte")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"export: {bad}: ") and message in last
    assert list(tmp_path.iterdir()) == [bad]


def test_interrupt(source, tmp_path):
    """Ends at once, says so, and leaves no file: not even a part of one."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "backends.mlx.gguf.command.export",
            str(source),
            "-o",
            str(tmp_path / "tiny.pte"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    seen = ""
    while "tracing" not in seen:
        more = process.stderr.read(1)
        assert more, f"ended before it began to trace: {seen}"
        seen += more
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert rest.splitlines()[-1] == "export: interrupted, nothing was written"
    assert list(tmp_path.iterdir()) == []


def test_interrupt_while_writing(source, tmp_path, capsys, monkeypatch):
    """The file that was there before stays as it was, and nothing lies beside it."""

    def half(program, file):
        file.write(b"half")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ExecutorchProgramManager, "write_to_file", half)
    output = tmp_path / "tiny.pte"
    output.write_bytes(b"before")
    assert export.main([str(source), "-o", str(output)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "export: interrupted, nothing was written"
    assert output.read_bytes() == b"before" and list(tmp_path.iterdir()) == [output]


def test_no_room(source, tmp_path, capsys):
    """Writing fails half-way, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        assert export.main([str(source), "-o", str(tmp_path / "tiny.pte")]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"export: {tmp_path / 'tiny.pte'}: File too large"
    assert list(tmp_path.iterdir()) == []
