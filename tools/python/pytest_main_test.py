"""Runs pytest_main.py as Bazel does, on small test files made here."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tools.python import pytest_main

PASSING = "".join(f"def test_{n}():\n    pass\n\n\n" for n in range(5))


@pytest.fixture
def run(tmp_path):
    """Runs pytest_main on a file of that text; returns its status, output and test names."""

    def run(text, *arguments, **environ):
        file = tmp_path / "sample_test.py"
        file.write_text(text)
        xml = tmp_path / "test.xml"
        xml.unlink(missing_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TEST")}
        done = subprocess.run(
            [sys.executable, pytest_main.__file__, "--threads=3", str(file), *arguments],
            cwd=tmp_path,
            env=inherited | {"XML_OUTPUT_FILE": str(xml)} | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        names = [case.get("name") for case in ElementTree.parse(xml).iter("testcase")]
        return done.returncode, done.stdout, names

    return run


def shard(tmp_path, index, total):
    return {
        "TEST_SHARD_INDEX": str(index),
        "TEST_TOTAL_SHARDS": str(total),
        "TEST_SHARD_STATUS_FILE": str(tmp_path / "shards"),
    }


def test_passing(run):
    status, output, names = run(PASSING)
    assert status == 0, output
    assert names == [f"test_{n}" for n in range(5)]


def test_takes_the_threads_it_was_given(run):
    text = "import os\n\n\ndef test_threads():\n"
    text += "".join(f"    assert os.environ[{name!r}] == '3'\n" for name in pytest_main._THREADS)
    status, output, _ = run(text)
    assert status == 0, output


def test_failing_test_fails_the_run(run):
    status, output, _ = run(PASSING + "def test_wrong():\n    assert 1 == 2\n")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "assert 1 == 2" in output


def test_broken_file_fails_the_run(run):
    status, _, _ = run("import no_such_module\n")
    assert status == pytest.ExitCode.INTERRUPTED


def test_run_without_a_test_fails(run):
    status, _, names = run("")
    assert status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert names == []


def test_filter(run):
    status, output, names = run(PASSING, TESTBRIDGE_TEST_ONLY="test_1 or test_3")
    assert status == 0, output
    assert names == ["test_1", "test_3"]


def test_filter_that_matches_nothing_fails(run):
    status, _, _ = run(PASSING, TESTBRIDGE_TEST_ONLY="test_9")
    assert status == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("total", [1, 2, 5, 7])
def test_shards_partition_the_tests(run, tmp_path, total):
    ran = []
    for index in range(total):
        status, output, names = run(PASSING, **shard(tmp_path, index, total))
        assert status == 0, output
        assert (tmp_path / "shards").exists()
        ran += names
    assert sorted(ran) == [f"test_{n}" for n in range(5)]


def test_shards_partition_what_the_filter_selects(run, tmp_path):
    ran = []
    for index in range(2):
        environ = shard(tmp_path, index, 2)
        status, output, names = run(PASSING, TESTBRIDGE_TEST_ONLY="test_1 or test_2", **environ)
        assert status == 0, output
        assert len(names) == 1
        ran += names
    assert sorted(ran) == ["test_1", "test_2"]


def test_shard_of_a_run_without_a_test_fails(run, tmp_path):
    for index in range(2):
        status, _, _ = run(PASSING, TESTBRIDGE_TEST_ONLY="test_9", **shard(tmp_path, index, 2))
        assert status == pytest.ExitCode.NO_TESTS_COLLECTED


def test_temporary_files_lie_in_bazels_folder(run, tmp_path):
    text = "def test_tmp(tmp_path):\n    print('at', tmp_path)\n"
    bazel = tmp_path / "bazel"
    bazel.mkdir()
    status, output, _ = run(text, "-s", TEST_TMPDIR=str(bazel))
    assert status == 0, output
    assert f"at {bazel}" in output
    assert not list(Path(tmp_path).rglob(".pytest_cache"))


def test_installed_plugins_are_not_loaded(run, tmp_path):
    metadata = tmp_path / "site" / "intruder-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: intruder\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[pytest11]\nintruder = no_such_module\n")
    path = os.pathsep.join([str(tmp_path / "site"), *sys.path])
    status, output, _ = run(PASSING, PYTHONPATH=path)
    assert status == 0, output
