"""Tests that ExecuTorch's C++ tokenizer gives our ids, for every splitting and kind of file."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest
from pytorch_tokenizers import CppHFTokenizer

from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.testing import write
from backends.mlx.gguf.tokenizer.pre_tokenizers import PRE_TOKENIZERS
from backends.mlx.gguf.tokenizer.testing import byte_level, sentence_piece
from backends.mlx.gguf.tokenizer.testing_cases import (
    TEXTS,
    changed,
    characters,
    pairs,
    random_texts,
)
from backends.mlx.gguf.tokenizer.tokenizer import Tokenizer

KINDS = {
    "bpe": byte_level(),
    "spm": sentence_piece(),
    "spm without prefix": changed(sentence_piece(), add_space_prefix=False),
    "gemma4": characters(),
}


def _check(file: GGUFFile, folder: Path) -> None:
    ours, theirs = Tokenizer.from_gguf(file), CppHFTokenizer()
    names = ("tokenizer.json", "tokenizer_config.json")
    for name, data in zip(names, ours.to_bytes(), strict=True):
        (folder / name).write_bytes(data)
    theirs.load(str(folder))
    for text in [*TEXTS, *random_texts(80)]:
        assert theirs.encode(text, 0, 0) == ours.encode(text, add_special=False), text


@pytest.fixture(scope="module", name="file")
def _file(tmp_path_factory: pytest.TempPathFactory) -> GGUFFile:
    return GGUFFile(write(tmp_path_factory.mktemp("pairs") / "pairs.gguf", pairs()))


@pytest.mark.parametrize(
    "name", {row: name for name, row in PRE_TOKENIZERS.items() if not row.plain}.values()
)
def test_words(file: GGUFFile, tmp_path: Path, name: str) -> None:
    file.metadata = MappingProxyType({**file.metadata, "tokenizer.ggml.pre": name})
    _check(file, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(tmp_path: Path, kind: str) -> None:
    _check(GGUFFile(write(tmp_path / "kind.gguf", KINDS[kind])), tmp_path)
