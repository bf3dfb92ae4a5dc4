"""Runs pytest under Bazel's test protocol: JUnit XML, --test_filter, shards, temporary files.

The main program of every pytest_test; its arguments are pytest's, after `--threads=N`.
"""

import os
import sys
from pathlib import Path

import pytest

# Shared with a plain `pytest` from the repository root.
_CONFIG = Path(__file__).parents[2] / "pyproject.toml"


# What the libraries that compute here read: OpenMP's (torch), OpenBLAS's (NumPy), our own.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MLX_GGUF_METAL_THREADS")


class Shard:
    """A pytest plugin that keeps every n-th of the selected tests."""

    def __init__(self, index: int, total: int):
        self.index = index
        self.total = total
        self.selected = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        self.selected = len(items)
        others = [item for i, item in enumerate(items) if i % self.total != self.index]
        items[:] = items[self.index :: self.total]
        config.hook.pytest_deselected(items=others)


def _arguments(environ) -> list[str]:
    arguments = ["-c", str(_CONFIG), "--rootdir", os.getcwd(), "-v", "-ra", "--color=no"]
    if "XML_OUTPUT_FILE" in environ:
        arguments.append("--junitxml=" + environ["XML_OUTPUT_FILE"])
    if "TEST_TMPDIR" in environ:
        arguments.append("--basetemp=" + os.path.join(environ["TEST_TMPDIR"], "pytest"))
    if environ.get("TESTBRIDGE_TEST_ONLY"):
        arguments += ["-k", environ["TESTBRIDGE_TEST_ONLY"]]
    return arguments


def _shard(environ) -> Shard | None:
    total = int(environ.get("TEST_TOTAL_SHARDS", "0"))
    if total < 1:
        return None
    # Tells Bazel that this program knows of shards; without it every shard would run all.
    Path(environ["TEST_SHARD_STATUS_FILE"]).touch()
    return Shard(int(environ["TEST_SHARD_INDEX"]), total)


def main() -> int:
    # Packages that happen to be installed must not load their plugins into our tests.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    option, *arguments = sys.argv[1:]
    os.environ.update(dict.fromkeys(_THREADS, str(int(option.removeprefix("--threads=")))))
    shard = _shard(os.environ)
    status = pytest.main(_arguments(os.environ) + arguments, plugins=[shard] if shard else [])
    # A shard may be left without a test, but the whole run may not.
    if status == pytest.ExitCode.NO_TESTS_COLLECTED and shard and shard.selected:
        return 0
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
