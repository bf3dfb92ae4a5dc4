"""Tests of the default checkpoint's cache, on a stand-in package that holds a few bytes."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from backends.mlx.gguf.model import checkpoint
from backends.mlx.gguf.model.gguf_file import GGUFFile

CONTENT = b"a checkpoint" * 1000


@pytest.fixture(name="package")
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package = ModuleType(checkpoint.PACKAGE)
    package.MODEL_NAME = "model.gguf"
    package.EXPECTED_SHA256 = hashlib.sha256(CONTENT).hexdigest()
    package.content = CONTENT
    package.calls = 0

    def assemble(output_path: Path, overwrite: bool) -> None:
        assert overwrite
        package.calls += 1
        output_path.write_bytes(package.content)

    package.assemble = assemble
    monkeypatch.setitem(sys.modules, checkpoint.PACKAGE, package)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return package


def _cached_names() -> list[str]:
    return sorted(path.name for path in checkpoint.cache_directory().iterdir())


def test_written_once_and_reused(package: ModuleType, tmp_path: Path) -> None:
    path = checkpoint.default_checkpoint()
    assert path == tmp_path / "mlx_gguf" / "checkpoints" / "model.gguf"
    assert path.read_bytes() == CONTENT
    assert checkpoint.default_checkpoint() == path and package.calls == 1
    assert _cached_names() == ["model.gguf"]


def test_damaged_cache_is_replaced(package: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    path = checkpoint.default_checkpoint()
    path.write_bytes(CONTENT[:-1])
    assert checkpoint.default_checkpoint().read_bytes() == CONTENT
    assert package.calls == 2
    assert "expected SHA-256" in caplog.text and str(path) in caplog.text


def test_damaged_package_leaves_nothing(package: ModuleType) -> None:
    package.content = CONTENT[:-1]
    with pytest.raises(checkpoint.CheckpointError, match="expected SHA-256 .*, found"):
        checkpoint.default_checkpoint()
    assert _cached_names() == []


@pytest.mark.parametrize("error", [ValueError("sha256 did not match"), OSError("disk full"),
                                   ModuleNotFoundError("No module named part3")])
def test_failures_name_their_cause(package: ModuleType, error: Exception) -> None:
    def fail(output_path: Path, overwrite: bool) -> None:
        output_path.write_bytes(CONTENT[:100])
        raise error

    package.assemble = fail
    with pytest.raises(checkpoint.CheckpointError, match=f"expected .* found .*{error}"):
        checkpoint.default_checkpoint()
    assert _cached_names() == []


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, checkpoint.PACKAGE, None)
    with pytest.raises(checkpoint.CheckpointError, match=checkpoint.PACKAGE):
        checkpoint.default_checkpoint()


def test_the_real_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = checkpoint.default_checkpoint()
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
