"""The cache folder, and the copies of its rule that run before any package is there."""

import subprocess
from pathlib import Path

import pytest

from backends.mlx.common.cache import cache_folder
from tools.python import install_site

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = [{"XDG_CACHE_HOME": "/c"}, {"XDG_CACHE_HOME": ""}, {}]


def test_tests_keep_to_their_own_folder():
    environ = {"TEST_TMPDIR": "/t", "XDG_CACHE_HOME": "/c"}
    assert cache_folder("metal", environ) == Path("/t/mlx_gguf/metal")


@pytest.mark.parametrize("environ", ENVIRONMENTS)
def test_packages_are_installed_there(environ):
    assert install_site.cache_folder(environ) == cache_folder("sites", environ)


@pytest.mark.parametrize("environ", ENVIRONMENTS)
def test_the_shell_agrees(environ):
    script = f'. "{ROOT}/tools/repo/offline.sh" && cache_folder'
    found = subprocess.check_output(
        ["sh", "-c", script], env={"HOME": str(Path.home())} | environ, text=True
    )
    assert Path(found.strip()) == cache_folder("", environ)
