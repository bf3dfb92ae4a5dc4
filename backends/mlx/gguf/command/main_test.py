"""Tests of what the commands share: bad arguments, errors of every kind, and ends from outside."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backends.mlx.common.errors import InputError
from backends.mlx.gguf.checkpoint import packaged
from backends.mlx.gguf.checkpoint.packaged import CheckpointError
from backends.mlx.gguf.command import demo, export, generate, inspect_file, verify
from backends.mlx.gguf.command.main import Parser, run, user_path

COMMANDS = {
    "demo": demo,
    "export": export,
    "generate": generate,
    "inspect": inspect_file,
    "verify": verify,
}
FILE = Path("model.gguf")


def test_bad_arguments_are_an_error_not_an_exit() -> None:
    with pytest.raises(InputError, match="unrecognized arguments: --colour"):
        Parser(prog="verify").parse_args(["--colour"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_bad_arguments_so(name: str, capsys: pytest.CaptureFixture) -> None:
    assert COMMANDS[name].main(["--colour"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"{name}: ") and err.count("\n") == 1


def _run(error: BaseException | None = None) -> int:
    def work(options) -> int:
        if error is not None:
            raise error
        return 1

    return run(Parser(prog="verify"), work, [])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("m.gguf: expected one, found\ntwo"), "m.gguf: expected one, found two"),
        (
            FileNotFoundError(errno.ENOENT, "No such file", FILE),
            "model.gguf: No such file",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("magic is odd"), "magic is odd"),
        (OSError(), "OSError"),
        (MemoryError(), "expected more memory, found none left"),
        (MemoryError("3 GiB"), "expected more memory, found 3 GiB"),
    ],
)
def test_errors_are_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture) -> None:
    assert _run(error) == 2
    assert capsys.readouterr().err == f"verify: {line}\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (KeyboardInterrupt("nothing was written"), "interrupted, nothing was written"),
    ],
)
def test_interrupt(error: KeyboardInterrupt, line: str, capsys: pytest.CaptureFixture) -> None:
    assert _run(error) == 130
    assert capsys.readouterr().err == f"verify: {line}\n"


def test_faults_of_this_project_are_not_hidden() -> None:
    with pytest.raises(ValueError, match="a fault"):
        _run(ValueError("a fault"))
    assert _run() == 1


@pytest.mark.parametrize("name", ["demo", "export", "verify"])
def test_no_packaged_checkpoint(
    name: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that takes one where it is given no file."""

    def none_there() -> Path:
        raise CheckpointError("expected the package, found none")

    monkeypatch.setattr(packaged, "smollm2", none_there)
    monkeypatch.setattr(packaged, "gemma3", none_there)
    assert COMMANDS[name].main([]) == 2
    assert capsys.readouterr().err == f"{name}: expected the package, found none\n"


def test_demo_without_a_folder_for_its_program(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_TMPDIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    monkeypatch.setattr(packaged, "smollm2", lambda: FILE)
    assert demo.main([]) == 2
    folder = tmp_path / "file" / "mlx_gguf" / "checkpoints"
    assert capsys.readouterr().err == f"demo: {folder}: Not a directory\n"


def test_demo_asks_the_program_it_exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_TMPDIR", str(tmp_path))
    monkeypatch.setattr(packaged, "smollm2", lambda: FILE)
    calls = []
    for command in (export, generate):
        monkeypatch.setattr(command, "main", lambda arguments: calls.append(arguments) or 0)
    assert demo.main(["What", "is", "this?"]) == 0
    program = str(tmp_path / "mlx_gguf" / "checkpoints" / "model.pte")
    assert calls == [
        ["model.gguf", "--output", program],
        [program, "--prompt=What is this?", "--max-tokens=64"],
    ]


# A command that keeps a file for the time of its work, and prints.
_PROGRAM = """
import sys, time
from pathlib import Path
from backends.mlx.gguf.command.main import Parser, run, start

def work(options):
    Path("kept").touch()
    print("é" * {length})
    try:
        print("begun", file=sys.stderr, flush=True)
        {work}
    finally:
        Path("kept").unlink()
    return 0

start(lambda: run(Parser(prog="verify"), work, []))
"""


def _program(folder: Path, work: str = "pass", *, length: int = 1, **options) -> subprocess.Popen:
    text = _PROGRAM.format(work=work, length=length)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUNBUFFERED": "",
    }
    return subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=folder,
        env=environment | options.pop("env", {}),
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_stopped(tmp_path: Path) -> None:
    process = _program(tmp_path, "time.sleep(60)", stdout=subprocess.DEVNULL)
    assert process.stderr.readline() == "begun\n"
    process.terminate()
    assert process.stderr.read() == "" and process.wait() == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("work", ['print("more", flush=True)', "pass"])
def test_a_reader_that_stops_early(work: str, tmp_path: Path) -> None:
    """While it works, or when all is printed in the end."""
    process = _program(tmp_path, work, stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == "begun\n" and process.wait() == -signal.SIGPIPE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [1, 1 << 16])
def test_stdout_that_is_full(length: int, tmp_path: Path) -> None:
    """Told once, though it fails again when Python ends; less and more than its buffer."""
    with open("/dev/full", "w") as full:
        process = _program(tmp_path, length=length, stdout=full)
        *before, line = process.stderr.read().splitlines()
    assert process.wait() == 2 and line == "verify: No space left on device"
    assert before == (["begun"] if length == 1 else [])


def test_stdout_that_is_closed(tmp_path: Path) -> None:
    process = _program(tmp_path, preexec_fn=lambda: os.close(1))
    assert process.stderr.read() == "begun\n" and process.wait() == 0


def test_stdin_that_is_closed(tmp_path: Path) -> None:
    process = _program(tmp_path, "sys.stdin.read()", preexec_fn=lambda: os.close(0))
    assert process.communicate()[1] == "begun\n" and process.wait() == 0


def test_stdout_is_flushed_though_it_is_closed(tmp_path: Path) -> None:
    process = _program(tmp_path, "sys.stdout.flush()", preexec_fn=lambda: os.close(1))
    assert process.stderr.read() == "begun\n" and process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_complaint_that_cannot_be_written_leaves_the_status(
    unbuffered: str, tmp_path: Path
) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "backends.mlx.gguf.command.inspect_file", "none.gguf"]
        path = os.pathsep.join(path for path in sys.path if path)
        environ = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, cwd=tmp_path, env=environ, stderr=full, check=False)
    assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_stdout_is_told_once(tmp_path: Path) -> None:
    text = (
        "from backends.mlx.gguf.command.main import Parser, run, start\n"
        "inner = lambda: run(Parser(prog='inner'), lambda _: print('text') or 0, [])\n"
        "start(lambda: run(Parser(prog='outer'), lambda _: inner(), []))\n"
    )
    path = os.pathsep.join(path for path in sys.path if path)
    environ = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", text],
            env=environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "inner: No space left on device\n"


def test_terminal_without_a_character(tmp_path: Path) -> None:
    process = _program(tmp_path, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"})
    assert process.communicate() == ("\\xe9\n", "begun\n") and process.wait() == 0


def test_paths_are_the_users_under_bazel_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", "/home/user")
    assert user_path("model.gguf") == Path("/home/user/model.gguf")
    assert user_path("/data/model.gguf") == Path("/data/model.gguf")
    monkeypatch.delenv("BUILD_WORKING_DIRECTORY")
    assert user_path("model.gguf") == Path("model.gguf")
