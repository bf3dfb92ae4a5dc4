"""Tests of the packaged checkpoints, on stand-in packages of a few bytes, and on the real ones."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from backends.mlx.common.cache import cache_folder
from backends.mlx.gguf.checkpoint import packaged
from backends.mlx.gguf.checkpoint.file import GGUFFile

CONTENT = b"a checkpoint" * 1000


@pytest.fixture(name="package")
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package = ModuleType(packaged.GEMMA3_PACKAGE)
    package.MODEL_NAME = "model.gguf"
    package.EXPECTED_SHA256 = hashlib.sha256(CONTENT).hexdigest()
    package.content = CONTENT
    package.calls = 0

    def assemble(output_path: Path, overwrite: bool) -> None:
        assert overwrite
        package.calls += 1
        output_path.write_bytes(package.content)

    package.assemble = assemble
    monkeypatch.setitem(sys.modules, packaged.GEMMA3_PACKAGE, package)
    monkeypatch.setenv("TEST_TMPDIR", str(tmp_path))
    return package


def _cached_names() -> list[str]:
    return sorted(path.name for path in cache_folder("checkpoints").iterdir())


def test_written_once_and_reused(package: ModuleType, tmp_path: Path) -> None:
    path = packaged.gemma3()
    assert path == tmp_path / "mlx_gguf" / "checkpoints" / "model.gguf"
    assert path.read_bytes() == CONTENT
    assert packaged.gemma3() == path and package.calls == 1
    assert _cached_names() == ["model.gguf"]


def test_damaged_cache_is_replaced(package: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    path = packaged.gemma3()
    path.write_bytes(CONTENT[:-1])
    assert packaged.gemma3().read_bytes() == CONTENT
    assert package.calls == 2
    assert "expected SHA-256" in caplog.text and str(path) in caplog.text


def test_damaged_package_leaves_nothing(package: ModuleType) -> None:
    package.content = CONTENT[:-1]
    with pytest.raises(packaged.CheckpointError, match="expected SHA-256 .*, found"):
        packaged.gemma3()
    assert _cached_names() == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("sha256 did not match"),
        OSError("disk full"),
        ModuleNotFoundError("No module named part3"),
    ],
)
def test_failures_name_their_cause(package: ModuleType, error: Exception) -> None:
    def fail(output_path: Path, overwrite: bool) -> None:
        output_path.write_bytes(CONTENT[:100])
        raise error

    package.assemble = fail
    with pytest.raises(packaged.CheckpointError, match=f"expected .* found .*{error}"):
        packaged.gemma3()
    assert _cached_names() == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (packaged.GEMMA3_PACKAGE, packaged.gemma3),
        (packaged.SMOLLM2_PACKAGE, packaged.smollm2),
    ],
)
def test_missing_package(name: str, path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(packaged.CheckpointError, match=f"expected the package {name}"):
        path()


@pytest.fixture(name="smollm2")
def _smollm2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the package, which cannot be imported; returns its file."""
    folder = tmp_path / packaged.SMOLLM2_PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("import a_program_that_is_not_installed")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packaged, "SMOLLM2_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return folder / packaged.SMOLLM2_FILE


def test_file_in_a_package_that_cannot_be_imported(smollm2: Path) -> None:
    smollm2.write_bytes(CONTENT)
    assert packaged.smollm2() == smollm2


def test_damaged_or_missing_file_in_a_package(smollm2: Path) -> None:
    smollm2.write_bytes(CONTENT[:-1])
    with pytest.raises(packaged.CheckpointError, match=f"{smollm2}: expected SHA-256 .*, found"):
        packaged.smollm2()
    smollm2.unlink()
    with pytest.raises(packaged.CheckpointError, match=f"{smollm2}: expected a readable file"):
        packaged.smollm2()


def test_smollm2() -> None:
    file = GGUFFile(packaged.smollm2())
    types = Counter(info.ggml_type for info in file.tensors.values())
    assert types == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    assert file.require("general.architecture", str) == "llama"
    assert len(file.require("tokenizer.ggml.merges", tuple)) == 48900


def test_gemma3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TMPDIR", str(tmp_path))
    path = packaged.gemma3()
    try:
        file = GGUFFile(path)
        types = Counter(info.ggml_type for info in file.tensors.values())
        assert types == {"Q5_0": 81, "F32": 109, "Q4_K": 27, "Q8_0": 10, "Q6_K": 9}
        assert file.metadata["general.architecture"] == "gemma3"
        assert len(file.metadata["tokenizer.ggml.tokens"]) == 262144
        assert file.tensors["token_embd.weight"].shape == (262144, 640)
    finally:
        # pytest keeps temporary folders, and this one holds 253 MB.
        path.unlink()
