"""The overlay in processes of its own: what it serves, where it writes, how it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.mlx import overlay
from backends.mlx.overlay import schemas

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS wheels ship the generated modules"
)

ENSURE = "from backends.mlx import overlay; print(overlay.ensure())\n"
IMPORT = """
from executorch.backends.mlx import MLXPartitioner
from executorch.backends.mlx._generated_inspector import OP_NODE_FIELDS
from executorch.backends.mlx.serialization import mlx_graph_schema, serialize_mlx_graph
from executorch.backends.mlx.serialization._generated import MLXGraph
print(len(OP_NODE_FIELDS))
"""


def start(script: str, cache: Path, **environment) -> subprocess.Popen:
    path = os.pathsep.join(filter(None, sys.path))
    variables = {name: value for name, value in os.environ.items() if name != "TEST_TMPDIR"}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=variables | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(cache)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


def entries(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_backend_imports_and_the_wheel_stays_as_it_was(tmp_path):
    wheel = schemas.mlx_fbs().parents[1]
    before = entries(wheel)
    root, count = finish(start(ENSURE + IMPORT, tmp_path)).split("\n")[:2]
    assert Path(root).is_relative_to(tmp_path / "mlx_gguf") and int(count) > 100
    assert entries(wheel) == before


def test_a_second_process_finds_the_files(tmp_path):
    first = finish(start(ENSURE, tmp_path))
    before = entries(tmp_path)
    # No flatc can be reached, so nothing could be generated again.
    assert finish(start(ENSURE, tmp_path, FLATC="/bin/false")) == first
    assert entries(tmp_path) == before


def test_several_processes_at_once(tmp_path):
    processes = [start(ENSURE, tmp_path) for _ in range(4)]
    (root,) = {finish(process).strip() for process in processes}
    assert [path.name for path in Path(root).parent.iterdir()] == [Path(root).name]


def test_tests_write_into_their_own_folder(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    root = finish(start(ENSURE, tmp_path / "home", TEST_TMPDIR=str(own))).strip()
    assert Path(root).is_relative_to(own) and not (tmp_path / "home").exists()


def test_calls_after_the_first_do_nothing(tmp_path):
    roots = finish(start(ENSURE + "print(overlay.ensure())", tmp_path)).split()
    assert len(roots) == 2 and roots[0] == roots[1]


def test_failure_leaves_nothing_behind(tmp_path):
    process = start(ENSURE, tmp_path, FLATC="/bin/false")
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert (
        errors.strip()
        .split("\n")[-1]
        .startswith("backends.mlx.overlay.generated.OverlayError: /bin/false: exit status 1:")
    )
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    process = start(ENSURE, tmp_path / "file")
    assert "OverlayError: " + str(tmp_path / "file") in process.communicate()[1]


def test_schemas_are_found_without_importing_executorch(tmp_path):
    script = (
        "import sys; from backends.mlx.overlay import schemas\n"
        "print(schemas.program_fbs()); print(schemas.mlx_fbs())\n"
        "assert 'executorch' not in sys.modules"
    )
    for line in finish(start(script, tmp_path)).split():
        assert Path(line).is_file()


def test_missing_executorch_is_one_clear_error(tmp_path):
    script = (
        "import sys; sys.modules['executorch'] = None\n"
        "from backends.mlx import overlay\n"
        "try: overlay.ensure()\n"
        "except overlay.OverlayError as error: print(error)"
    )
    assert finish(start(script, tmp_path)).startswith("ExecuTorch is not installed: ")
    assert issubclass(overlay.OverlayError, ImportError)
