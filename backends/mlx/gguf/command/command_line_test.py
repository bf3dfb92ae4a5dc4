"""Tests of what the commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.mlx.gguf.command.command_line import InputError, Parser, user_path


def test_bad_arguments_are_an_error_not_an_exit() -> None:
    with pytest.raises(InputError, match="unrecognized arguments: --colour"):
        Parser(prog="verify").parse_args(["--colour"])


def test_paths_are_the_users_under_bazel_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", "/home/user")
    assert user_path("model.gguf") == Path("/home/user/model.gguf")
    assert user_path("/data/model.gguf") == Path("/data/model.gguf")
    monkeypatch.delenv("BUILD_WORKING_DIRECTORY")
    assert user_path("model.gguf") == Path("model.gguf")
