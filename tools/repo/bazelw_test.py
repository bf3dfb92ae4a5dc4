"""Runs bazelw and tools/bazel with a PATH of stand-ins, so that no Bazel is run or installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the scripts themselves call.
SYSTEM = ["cat", "cksum", "cut", "dirname", "env", "id", "mkdir", "mv", "readlink", "sh", "uname"]


@pytest.fixture
def bin_folder(tmp_path):
    """The only folder on PATH: the system's tools, python3.11 and g++, but no Bazel."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in SYSTEM:
        (folder / name).symlink_to(shutil.which(name))
    stand_in(folder, "python3.11", "exit 0")
    stand_in(folder, "g++", "exit 0")
    return folder


def stand_in(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def run(bin_folder, *command, **environ):
    done = subprocess.run(
        ["/bin/sh", *command],
        env={"PATH": str(bin_folder), "HOME": str(bin_folder.parent)} | environ,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def bazelw(bin_folder, *arguments, **environ):
    return run(bin_folder, str(ROOT / "bazelw"), *arguments, **environ)


@pytest.mark.parametrize("name", ["bazel", "bazelisk"])
def test_runs_what_it_finds(bin_folder, name):
    stand_in(bin_folder, name, 'echo "$0" "$@" "$BAZELW_BAZEL"')
    status, output, _ = bazelw(bin_folder, "test", "//...")
    path = bin_folder / name
    assert (status, output) == (0, f"{path} test //... {path}\n")


def test_status_is_bazels(bin_folder):
    stand_in(bin_folder, "bazel", "exit 3")
    assert bazelw(bin_folder, "test", "//...")[0] == 3


def test_named_bazel_goes_first(bin_folder, tmp_path):
    stand_in(bin_folder, "bazel", "exit 3")
    mine = stand_in(tmp_path, "mine", 'echo "$@"')
    status, output, _ = bazelw(bin_folder, "version", BAZELW_BAZEL=str(mine))
    assert (status, output) == (0, "version\n")


def test_installs_debians_bazel_where_there_is_none(bin_folder, tmp_path):
    to_install = stand_in(tmp_path, "bazel", 'echo installed "$@"')
    log = tmp_path / "apt.log"
    install = f"case $* in *bazel-bootstrap*) mv {to_install} {bin_folder} ;; esac"
    stand_in(bin_folder, "apt-get", f'echo "$@" >> {log}\n{install}')
    stand_in(bin_folder, "sudo", '"$@"')
    status, output, _ = bazelw(bin_folder, "version")
    assert (status, output) == (0, "installed version\n")
    update, install = log.read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("bazel-bootstrap bazel-rules-java")


def test_failed_installation(bin_folder):
    stand_in(bin_folder, "apt-get", "exit 100")
    stand_in(bin_folder, "sudo", '"$@"')
    status, _, error = bazelw(bin_folder, "version")
    assert status == 127
    assert error.splitlines()[-1] == "bazelw: apt-get could not install bazel-bootstrap"


@pytest.mark.parametrize(
    "missing, message",
    [
        ("g++", "g++ is needed"),
        ("python3.11", "Python 3.11 is needed"),
        (None, "there is no bazel, no bazelisk and no apt-get"),
    ],
)
def test_what_is_missing_is_named(bin_folder, missing, message):
    if missing:
        stand_in(bin_folder, "bazel", "exit 0")
        (bin_folder / missing).unlink()
    status, output, error = bazelw(bin_folder, "version")
    assert (status, output) == (127, "")
    assert error.startswith(f"bazelw: {message}")
    assert error.count("\n") == 1


def test_wrapper_passes_on_what_the_launcher_chose(bin_folder, tmp_path):
    real = stand_in(tmp_path, "bazel-real", 'echo "$@" "$BAZELW_BAZEL"')
    status, output, _ = run(
        bin_folder, str(ROOT / "tools/bazel"), "info", BAZEL_REAL=str(real), BAZELW_BAZEL="other"
    )
    assert (status, output) == (0, f"info {real}\n")
