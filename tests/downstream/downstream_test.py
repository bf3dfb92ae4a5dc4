"""Builds and tests the workspace beside this file, which depends on mlx_gguf, with a Bazel
of its own, on a copy of the sources that this test declares and nothing else. Bazel 4 to 6
take its WORKSPACE; later ones its MODULE.bazel, Bazel 7 on demand its WORKSPACE.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.python import install_site

ROOT = Path(__file__).parents[2]
WORKSPACE = "tests/downstream/workspace"


def nested_environment(home: Path) -> dict[str, str]:
    """What the nested Bazel may see: no variable of the outer test, the same packages."""
    environ = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        # Behind the virtual environment that this test runs in.
        "MLX_GGUF_PYTHON": os.path.realpath(sys.executable),
    }
    if "BAZELW_BAZEL" in os.environ:
        environ["BAZELW_BAZEL"] = os.environ["BAZELW_BAZEL"]
    # pytest was imported from the folder that install_site.py made, or by a plain pytest
    # from elsewhere; the packages are then taken from the usual cache.
    site = Path(pytest.__file__).resolve().parents[1]
    installed = (site / install_site.LISTING).exists()
    environ["MLX_GGUF_SITES"] = str(site.parent if installed else install_site.cache_folder())
    return environ


class Bazel:
    """A Bazel on a copy of the repository, all of whose files lie under `folder`."""

    def __init__(self, folder: Path):
        self.repository = folder / "mlx_gguf"
        self.workspace = self.repository / WORKSPACE
        shutil.copytree(
            ROOT, self.repository, ignore=shutil.ignore_patterns(".git", "bazel-*", "__pycache__")
        )
        self.environ = nested_environment(folder)
        self.startup = [f"--output_user_root={folder / 'bazel'}", "--max_idle_secs=30"]

        self.version = self("--version")[1].strip()

    def __call__(self, *command: str) -> tuple[int, str]:
        """Runs a command in the downstream workspace; returns its status and its output."""
        done = subprocess.run(
            [str(self.repository / "bazelw"), *self.startup, *command],
            cwd=self.workspace,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(done.stdout)
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def bazel(tmp_path_factory):
    bazel = Bazel(tmp_path_factory.mktemp("downstream"))
    yield bazel
    bazel("shutdown")


def passed(output: str) -> set[str]:
    """The test targets that Bazel reports as passed."""
    return set(re.findall(r"^(//\S+)\s+(?:\(cached\) )?PASSED", output, re.MULTILINE))


@pytest.mark.parametrize("options", [[], ["--config=repack"]], ids=["fused", "repack"])
def test_workspace(bazel, options):
    status, output = bazel("test", *options, "//...")
    assert status == 0
    assert passed(output) == {
        "//app:kernels_test",
        "//app:lowering_test",
        "//app:own_kernel_test",
    }


def test_workspace_file_of_bazel_7(bazel):
    if not bazel.version.startswith("bazel 7."):
        pytest.skip(f"{bazel.version} takes one of WORKSPACE and MODULE.bazel only")
    options = ["--enable_workspace", "--noenable_bzlmod"]
    status, _ = bazel("build", "--nobuild", *options, "//...")
    assert status == 0
    status, output = bazel("test", *options, "//app:own_kernel_test")
    assert status == 0
    assert passed(output) == {"//app:own_kernel_test"}


@pytest.mark.parametrize(
    "python_version, result",
    [("3.11", "Build completed successfully"), ("3.1", "Python 3.1 is needed")],
)
def test_root_module_chooses_packages(bazel, python_version, result):
    if re.fullmatch(r"bazel (no_version|[4-6]\..*)", bazel.version):
        pytest.skip(f"{bazel.version} takes WORKSPACE")
    module, lock = bazel.workspace / "MODULE.bazel", bazel.workspace / "app/requirements.lock"
    before = module.read_text()
    shutil.copy(bazel.repository / "third_party/pip/requirements.lock", lock)
    tag = f'requirements = "//app:{lock.name}", python_version = "{python_version}"'
    module.write_text(f"{before}python.packages({tag})\n")
    try:
        assert result in bazel("build", "--nobuild", "//app:case")[1]
    finally:
        module.write_text(before)


def test_python_toolchain_of_another_version(bazel):
    toolchain = "//app:another_python_toolchain"
    status, output = bazel("build", "--nobuild", f"--extra_toolchains={toolchain}", "//app:case")
    assert status == 1
    assert re.search(r"expected a Python toolchain of version 3\.\d+, found 3\.1$", output, re.M)


def test_kernels_of_all_types_are_a_metal_library_and_a_python_library(bazel):
    status, _ = bazel("build", "--nobuild", "//app:kernels_files", "//app:all_kernels")
    assert status == 0


def test_address_space_mistake_fails_the_build(bazel):
    status, output = bazel("build", "//app:wrong_address_space")
    assert status == 1
    assert re.search(r"wrong_address_space\S*\.metal:\d+: .*threadgroup", output)


def test_unknown_mode_fails_the_build(bazel):
    flag = "@mlx_gguf//backends/mlx/gguf:mode"
    status, output = bazel("build", f"--{flag}=both", flag)
    assert status == 1
    assert 'expected one of fused, repack, found "both"' in output
