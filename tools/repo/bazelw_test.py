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


ALL_PACKAGES = "g++ python3-pip python3-venv bazel-bootstrap bazel-rules-java"
ALL_MISSING = (
    "bazelw: missing: a C++ compiler, Python 3.11 to 3.14 with pip and venv, "
    "Bazel 4 to 7 or bazelisk"
)


@pytest.fixture
def bare(bin_folder, tmp_path):
    """The PATH of a bare Debian, whose apt-get writes what it does into `apt.log`."""
    (bin_folder / "g++").unlink()
    (bin_folder / "python3.11").unlink()
    stand_in(bin_folder, "id", "echo 1000")
    ready = tmp_path / "ready"
    ready.mkdir()
    stand_in(ready, "g++", "exit 0")
    stand_in(ready, "python3.13", "exit 0")
    stand_in(ready, "bazel", 'echo installed "$@"')
    install = f'case "$*" in *"install "*) mv {ready}/* {bin_folder} ;; esac'
    stand_in(bin_folder, "apt-get", f'echo "$@" >> {tmp_path / "apt.log"}\n{install}')
    return bin_folder


def test_installs_all_that_is_missing_and_says_so_before(bare, tmp_path):
    stand_in(bare, "sudo", 'echo sudo "$@" >&2; "$@"')
    status, output, error = bazelw(bare, "version")
    assert (status, output) == (0, "installed version\n")
    command = f"apt-get install --no-install-recommends {ALL_PACKAGES}"
    assert error.splitlines()[:2] == [
        f"{ALL_MISSING}. Running: sudo {command}",
        "sudo apt-get update -qq",
    ]
    update, install = (tmp_path / "apt.log").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith(f"--no-install-recommends {ALL_PACKAGES}")


def test_root_needs_no_sudo(bare):
    stand_in(bare, "id", "echo 0")
    status, output, error = bazelw(bare, "version")
    assert (status, output) == (0, "installed version\n")
    assert "Running: apt-get install" in error


def test_sudo_keeps_proxies(bare):
    stand_in(bare, "sudo", 'echo "$1" >&2; shift; "$@"')
    error = bazelw(bare, "version", http_proxy="http://proxy:3128")[2]
    assert error.splitlines()[1:] == ["--preserve-env=http_proxy,https_proxy,no_proxy"] * 2


def test_installs_nothing_else(bin_folder, tmp_path):
    stand_in(bin_folder, "bazel", 'echo "$@"')
    to_install = (bin_folder / "g++").rename(tmp_path / "g++")
    stand_in(bin_folder, "sudo", '"$@"')
    stand_in(bin_folder, "apt-get", f'case "$*" in *g++) mv {to_install} {bin_folder} ;; esac')
    status, output, error = bazelw(bin_folder, "version")
    assert (status, output) == (0, "version\n")
    assert error == (
        "bazelw: missing: a C++ compiler. "
        "Running: sudo apt-get install --no-install-recommends g++\n"
    )


def test_failed_installation(bin_folder):
    stand_in(bin_folder, "apt-get", "exit 100")
    stand_in(bin_folder, "sudo", '"$@"')
    status, _, error = bazelw(bin_folder, "version")
    assert status == 127
    assert (
        error.splitlines()[-1]
        == "bazelw: apt-get could not install bazel-bootstrap bazel-rules-java"
    )


def test_installation_that_does_not_help(bin_folder):
    """Such as that of a Python too old."""
    (bin_folder / "python3.11").unlink()
    stand_in(bin_folder, "bazel", "exit 0")
    stand_in(bin_folder, "apt-get", "exit 0")
    stand_in(bin_folder, "sudo", '"$@"')
    status, _, error = bazelw(bin_folder, "version")
    assert status == 127
    assert error.splitlines()[-1] == (
        "bazelw: missing, though apt-get installed python3-pip python3-venv: "
        "Python 3.11 to 3.14 with pip and venv"
    )


def only_line(bin_folder, **environ):
    """The one line of a bazelw that does not run Bazel."""
    status, output, error = bazelw(bin_folder, "version", **environ)
    assert (status, output, error.count("\n")) == (127, "", 1)
    return error.rstrip("\n")


def test_names_all_that_is_missing_to_whom_cannot_install(bare):
    install = f"apt-get update && apt-get install --no-install-recommends {ALL_PACKAGES}"
    assert only_line(bare) == f"{ALL_MISSING}. As root, run: {install}"
    (bare / "apt-get").unlink()
    assert only_line(bare) == ALL_MISSING


def test_python_without_pip_is_none(bin_folder):
    stand_in(bin_folder, "bazel", "exit 0")
    stand_in(bin_folder, "python3.11", 'case "$2" in *pip*) exit 1 ;; esac')
    assert only_line(bin_folder) == "bazelw: missing: Python 3.11 to 3.14 with pip and venv"


@pytest.mark.parametrize("minor", [12, 13, 14])
def test_other_pythons(bin_folder, minor):
    stand_in(bin_folder, "bazel", "exit 0")
    (bin_folder / "python3.11").rename(bin_folder / f"python3.{minor}")
    assert bazelw(bin_folder, "version")[0] == 0


def test_python_of_the_users(bin_folder, tmp_path):
    stand_in(bin_folder, "bazel", "exit 0")
    (bin_folder / "python3.11").unlink()
    mine = stand_in(tmp_path, "my python", "exit 0")
    assert bazelw(bin_folder, "version", MLX_GGUF_PYTHON=str(mine))[0] == 0
    assert (
        only_line(bin_folder, MLX_GGUF_PYTHON="other")
        == "bazelw: MLX_GGUF_PYTHON=other: this is no Python with pip and venv"
    )


def test_compiler_of_the_users(bin_folder, tmp_path):
    stand_in(bin_folder, "bazel", "exit 0")
    (bin_folder / "g++").unlink()
    stand_in(bin_folder, "ccache", "exit 0")
    mine = stand_in(tmp_path, "my g++", "exit 0")
    for compiler in ["ccache g++", str(mine)]:
        assert bazelw(bin_folder, "version", CXX=compiler)[0] == 0
    assert (
        only_line(bin_folder, CXX="other g++") == "bazelw: CXX=other g++: there is no such command"
    )


@pytest.mark.parametrize("reachable", [True, False])
def test_npm_bazelisk_where_downloads_are_reached(bin_folder, reachable):
    stand_in(bin_folder, "npx", 'echo "$USE_BAZEL_VERSION" "$@"')
    stand_in(bin_folder, "python3", f"exit {int(not reachable)}")
    if reachable:
        status, output, _ = bazelw(bin_folder, "version")
        assert (status, output) == (0, "7.7.1 --yes @bazel/bazelisk@1.28.1 version\n")
    else:
        assert only_line(bin_folder) == "bazelw: missing: Bazel 4 to 7 or bazelisk"


def test_wrapper_passes_on_what_the_launcher_chose(bin_folder, tmp_path):
    real = stand_in(tmp_path, "bazel-real", 'echo "$@" "$BAZELW_BAZEL"')
    status, output, _ = run(
        bin_folder, str(ROOT / "tools/bazel"), "info", BAZEL_REAL=str(real), BAZELW_BAZEL="other"
    )
    assert (status, output) == (0, f"info {real}\n")
