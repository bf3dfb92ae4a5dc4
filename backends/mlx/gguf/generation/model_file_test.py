"""Tests of opening exported models, with named data in place of a whole program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.mlx.gguf.card import CARD, TOKENIZER, TOKENIZER_CONFIG
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.testing import write
from backends.mlx.gguf.generation import model_file
from backends.mlx.gguf.generation.model_file import ModelFile, ModelFileError
from backends.mlx.gguf.generation.testing import Parrot
from backends.mlx.gguf.tokenizer.testing import byte_level
from backends.mlx.gguf.tokenizer.tokenizer import Tokenizer

PATH = Path("model.pte")
INFO = {
    "version": "0.2",
    "lowering": "fused",
    "architecture": "llama",
    "name": "sample",
    "dtype": "bfloat16",
    "max_seq_len": 6,
    "prefill_chunk": 2,
    "vocab_size": 320,
}


@pytest.fixture(name="data")
def _data(tmp_path: Path) -> dict[str, bytes]:
    """The named data of a sound file."""
    tokenizer = Tokenizer.from_gguf(GGUFFile(write(tmp_path / "t.gguf", byte_level())))
    stored, config = tokenizer.to_bytes()
    return {
        CARD: json.dumps(INFO | {"later": 1}).encode(),
        TOKENIZER: stored,
        TOKENIZER_CONFIG: config,
        "weights": b"1234",
    }


@pytest.fixture(name="opened")
def _opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], ModelFile]:
    def opened(data: dict[str, bytes]) -> ModelFile:
        views = {name: memoryview(value) for name, value in data.items()}
        monkeypatch.setattr(
            model_file, "Program", lambda _: SimpleNamespace(named_data=lambda: views)
        )
        return ModelFile(PATH)

    return opened


def test_sound_file(opened, data: dict[str, bytes]) -> None:
    file = opened(data)
    assert file.card.__dict__ == INFO | {"ignored_keys": (), "warnings": ()} and file.path == PATH
    assert file.tokenizer.decode(file.tokenizer.encode("hello")) == "hello"


def test_session_has_the_files_sizes(
    opened, data: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Parrot([1, 2, 3])
    monkeypatch.setattr(model_file, "Runner", lambda program: model)
    session = opened(data).session()
    assert model.prepared
    session.prefill([7, 8, 9])
    assert session.room == 3 and model.heard == [7, 8, 9]
    assert next(model.reply) == 3  # two calls, of two tokens and of one


@pytest.mark.parametrize("name", [CARD, TOKENIZER, TOKENIZER_CONFIG])
def test_files_that_export_did_not_make(opened, data: dict[str, bytes], name: str) -> None:
    del data[name]
    with pytest.raises(ModelFileError) as caught:
        opened(data)
    assert str(caught.value) == (
        f"model.pte: named data '{name}': expected it in a model that export made, found none"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lowering": None}, "lowering: expected a string, found None"),
        ({"version": 2}, "version: expected a string, found 2"),
        ({"max_seq_len": 0}, "max_seq_len: expected a number of at least 1, found 0"),
        ({"prefill_chunk": True}, "prefill_chunk: expected a number of at least 1, found True"),
        ({"vocab_size": "1"}, "vocab_size: expected a number of at least 1, found '1'"),
    ],
    ids=str,
)
def test_damaged_values(
    opened, data: dict[str, bytes], changes: dict[str, Any], message: str
) -> None:
    data[CARD] = json.dumps(INFO | changes).encode()
    with pytest.raises(ModelFileError) as caught:
        opened(data)
    assert str(caught.value) == f"model.pte: {CARD}: {message}"


@pytest.mark.parametrize("key", INFO)
def test_missing_values(opened, data: dict[str, bytes], key: str) -> None:
    data[CARD] = json.dumps({name: value for name, value in INFO.items() if name != key}).encode()
    with pytest.raises(ModelFileError, match=f"model.json: {key}: expected .*, found no such key"):
        opened(data)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CARD, b"{", "model.json: expected JSON, found"),
        (CARD, b"\xff", "model.json: expected JSON, found"),
        (CARD, b"[]", "model.json: expected an object, found list"),
        (
            CARD,
            json.dumps(INFO | {"vocab_size": 321}).encode(),
            "tokenizer.json: expected 321 tokens, as mlx_gguf/model.json says, found 320",
        ),
        (TOKENIZER, b"{}", "tokenizer.json: expected a tokenizer, found"),
        (TOKENIZER_CONFIG, b"[]", "tokenizer_config.json: expected an object, found list"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_damaged_data(
    opened, data: dict[str, bytes], name: str, content: bytes, message: str
) -> None:
    with pytest.raises(ModelFileError) as caught:
        opened(data | {name: content})
    text = str(caught.value)
    assert text.startswith("model.pte: ") and message in text and len(text.splitlines()) == 1
