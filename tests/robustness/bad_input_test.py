"""The command line on bad input: exit status 2, one line on stderr, nothing left behind."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.mlx.gguf import formats
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.testing import write_sample, write_split

SUPPORTED = ", ".join(formats.FORMATS)


@pytest.fixture(name="verify")
def _verify(complaint):
    """Runs `verify`; returns its one line of complaint."""
    return functools.partial(complaint, "verify")


def test_missing_file(verify, tmp_path: Path) -> None:
    path = tmp_path / "missing.gguf"
    assert verify(path) == (
        f"verify: {path}: file: expected a readable file, found No such file or directory"
    )


def test_relative_path_is_the_users(verify, tmp_path: Path) -> None:
    assert f"verify: {tmp_path / 'work' / 'missing.gguf'}: file:" in verify("missing.gguf")


def test_directory(verify, tmp_path: Path) -> None:
    assert verify(tmp_path).endswith(
        f"{tmp_path}: file: expected a regular file, found a directory"
    )


def test_not_a_gguf_file(verify, tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("not a model\n")
    assert verify(path).endswith(f"{path}: magic: expected b'GGUF', found b'not '")


def test_tensor_cut_short(verify, sample: Path, tmp_path: Path) -> None:
    info = GGUFFile(sample).tensors["blk.0.ffn_down.weight"]
    path = tmp_path / "short.gguf"
    path.write_bytes(sample.read_bytes()[: info.offset + 100])
    assert verify(path) == (
        f"verify: {path}: tensor 'blk.0.ffn_down.weight': expected {7 * 210} bytes for Q6_K of "
        f"shape (7, 256) at offset {info.offset}, found 100 before the end of the file"
    )


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (11, 512, "expected 3168 bytes for Q4_K of shape (11, 512), so that"),
        (12, 256, "expected 1728 bytes for Q4_K of shape (12, 256), so that"),
        (12, 480, "expected rows of a multiple of 256 weights for Q4_K, found shape (12, 480)"),
    ],
)
def test_bytes_that_do_not_fit_the_shape(
    verify, sample: Path, tmp_path: Path, rows: int, columns: int, expected: str
) -> None:
    data = sample.read_bytes()
    shape = b"".join(size.to_bytes(8, "little") for size in (512, 12))
    assert data.count(shape) == 1
    path = tmp_path / "shape.gguf"
    path.write_bytes(
        data.replace(shape, b"".join(size.to_bytes(8, "little") for size in (columns, rows)))
    )
    line = verify(path)
    assert f"{path}: tensor 'blk.0.attn_q.weight': {expected}" in line


def test_unknown_type_id(verify, sample: Path, tmp_path: Path) -> None:
    data = sample.read_bytes()
    name = b"blk.0.attn_q.weight"
    at = data.index(name) + len(name) + 4 + 16
    assert data[at] == 12
    path = tmp_path / "type.gguf"
    path.write_bytes(data[:at] + b"\xc8" + data[at + 1 :])
    assert "'blk.0.attn_q.weight': expected a known ggml type id, found id 200" in verify(path)


def test_missing_part_of_a_split_model(verify, tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    parts[1].unlink()
    assert verify(parts[3]) == (
        f"verify: {parts[1]}: file: expected it beside {parts[3].name}, as a part of the same "
        "model, found no such file"
    )


def test_part_of_another_split_model(verify, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    parts = write_split(tmp_path / "a")
    other = write_split(tmp_path / "b", {"a": ("Q4_K", (1, 256)), "b": ("F32", (4,))})
    parts[2].write_bytes(other[1].read_bytes())
    assert verify(parts[0]).endswith(f"{parts[2]}: metadata 'split.no': expected 2, found 1")


def test_part_of_a_split_model_cut_short(verify, tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    info = GGUFFile(parts[0]).tensors["blk.0.ffn_down.weight"]
    parts[1].write_bytes(parts[1].read_bytes()[: info.offset + 100])
    assert verify(parts[0]) == (
        f"verify: {parts[1]}: tensor 'blk.0.ffn_down.weight': expected {7 * 210} bytes for Q6_K of "
        f"shape (7, 256) at offset {info.offset}, found 100 before the end of the file"
    )


def test_nothing_of_a_supported_type(verify, tmp_path: Path) -> None:
    path = write_sample(tmp_path / "f64.gguf", {"a": ("F64", (4, 64)), "b": ("F32", (4, 64))})
    line = verify(path)
    assert f"{path}: expected tensors of type {SUPPORTED}" in line
    assert line.endswith("found only F32, F64")


def test_no_tensor_matches(verify, sample: Path) -> None:
    assert verify(sample, "--tensors", "blk.9.*").endswith(
        f"{sample}: expected tensors that match 'blk.9.*', found none of 4"
    )


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--types", "Q9_K", f"argument --types: GGUF type: expected one of {SUPPORTED}"),
        ("--types", "", f"argument --types: GGUF type: expected one of {SUPPORTED}"),
        ("--types", "Q4_K,,", f"argument --types: GGUF type: expected one of {SUPPORTED}"),
        ("--m", "0", "argument --m: expected numbers of 1 to 4096, such as 1,5,33, found '0'"),
        ("--m", "-1", "argument --m: expected numbers of 1 to 4096"),
        ("--m", "1,x", "argument --m: expected numbers of 1 to 4096, such as 1,5,33, found '1,x'"),
        ("--m", "1.5", "argument --m: expected numbers of 1 to 4096"),
        ("--m", "99999", "argument --m: expected numbers of 1 to 4096"),
        ("--dtype", "float64", "argument --dtype: invalid choice: 'float64'"),
        ("--colour", "red", "unrecognized arguments: --colour red"),
    ],
)
def test_bad_options(verify, sample: Path, option: str, value: str, expected: str) -> None:
    assert expected in verify(sample, option, value)


def test_cache_that_cannot_be_written(verify, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    line = verify(XDG_CACHE_HOME=str(blocked))
    assert "expected a writable cache and whole packages, found [Errno 20]" in line


@pytest.mark.parametrize("command", ["export", "verify"])
def test_cache_that_generated_modules_cannot_go_to(sample: Path, tmp_path: Path, command: str):
    blocked = tmp_path / "file"
    blocked.write_text("")
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "XDG_CACHE_HOME": str(blocked),
    }
    environ.pop("TEST_TMPDIR", None)
    module = f"backends.mlx.gguf.command.{command}"
    done = subprocess.run(
        [sys.executable, "-m", module, str(sample)],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    # What the command had begun stands before it.
    complaint = done.stderr.splitlines()[-1]
    assert complaint.startswith(f"{command}: {blocked}/mlx_gguf/executorch_mlx/")
    assert "Traceback" not in done.stderr
