"""What the tests of bad input share: commands as programs of their own, and small files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.mlx.gguf.checkpoint.testing import write_sample


@pytest.fixture(scope="session", name="sample")
def _sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("gguf") / "sample.gguf")


@pytest.fixture(name="complaint")
def _complaint(tmp_path: Path):
    """Runs a module of `command` as a program; returns its one line of complaint.

    Checks that the exit status is 2, stdout empty and nothing left behind.
    """
    folders = {name: tmp_path / name for name in ("tmp", "cache", "work")}
    for folder in folders.values():
        folder.mkdir()
    generated = folders["cache"] / "mlx_gguf" / "executorch_mlx"
    environment = {
        # Under Bazel the cache would be in $TEST_TMPDIR.
        **{name: value for name, value in os.environ.items() if name != "TEST_TMPDIR"},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TMPDIR": str(folders["tmp"]),
        "XDG_CACHE_HOME": str(folders["cache"]),
        "BUILD_WORKING_DIRECTORY": str(folders["work"]),
    }

    def complaint(module: str, *arguments: object, **variables: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", f"backends.mlx.gguf.command.{module}", *map(str, arguments)],
            env=environment | variables,
            cwd=folders["work"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 2, result.stderr
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith(f"{module.split('_')[0]}: "), result.stderr
        left = [path for folder in folders.values() for path in folder.rglob("*")]
        # What importing ExecuTorch's MLX backend generates is for every later command too.
        assert [
            path
            for path in left
            if not path.is_relative_to(generated) and not generated.is_relative_to(path)
        ] == []
        return lines[0]

    return complaint
