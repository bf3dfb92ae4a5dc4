"""Tests that ids and ends are llama.cpp's, as `testing_llama_cpp.py` recorded them."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import pytest

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.checkpoint.testing import write
from backends.mlx.gguf.tokenizer.pre_tokenizers import PRE_TOKENIZERS
from backends.mlx.gguf.tokenizer.testing_cases import cases, pairs
from backends.mlx.gguf.tokenizer.testing_llama_cpp import _FEW, _MOST, RECORD, digest, texts_of
from backends.mlx.gguf.tokenizer.tokenizer import Tokenizer

RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))
# What llama.cpp loads, or seems to, and we refuse.
REFUSED = {"model t5", "model plamo2", "model hybriddna"}
CASES = dict(cases())


@pytest.fixture(scope="module", name="file")
def _file(tmp_path_factory: pytest.TempPathFactory) -> GGUFFile:
    return GGUFFile(write(tmp_path_factory.mktemp("pairs") / "pairs.gguf", pairs()))


def _found(file: GGUFFile, texts: list[str]) -> dict[str, object]:
    tokenizer = Tokenizer.from_gguf(file)
    ids = [
        tokenizer.encode(text, parse_special=special) for text in texts for special in (True, False)
    ]
    return {"ends": sorted(tokenizer.eos_ids), "ids": digest(ids)}


def test_the_record_is_of_these_texts_and_names() -> None:
    assert RECORDED["texts"] == digest(_FEW + _MOST)
    assert RECORDED["rows"].keys() == {
        name for name, row in PRE_TOKENIZERS.items() if not row.plain
    }
    assert RECORDED["cases"].keys() == CASES.keys()


# Names of one row have the same ids: each is in the record, one of them is tried here.
@pytest.mark.parametrize(
    "name", {row: name for name, row in PRE_TOKENIZERS.items() if not row.plain}.values()
)
def test_words(file: GGUFFile, name: str) -> None:
    file.metadata = MappingProxyType({**file.metadata, "tokenizer.ggml.pre": name})
    found = _found(file, texts_of(name))
    names = [other for other in RECORDED["rows"] if PRE_TOKENIZERS[other] == PRE_TOKENIZERS[name]]
    for other in names:
        assert RECORDED["rows"][other] == found, other


@pytest.mark.parametrize("name", RECORDED["many"])
def test_words_of_many_texts(file: GGUFFile, name: str) -> None:
    file.metadata = MappingProxyType({**file.metadata, "tokenizer.ggml.pre": name})
    assert _found(file, texts_of(name, many=True)) == RECORDED["many"][name]


@pytest.mark.parametrize("name", CASES)
def test_kinds_of_files(tmp_path: Path, name: str) -> None:
    file = GGUFFile(write(tmp_path / "case.gguf", CASES[name]))
    if RECORDED["cases"][name] is None or name in REFUSED:
        with pytest.raises(GGUFError, match=r"metadata 'tokenizer\.ggml\.\w+': expected "):
            Tokenizer.from_gguf(file)
    else:
        assert _found(file, texts_of(name)) == RECORDED["cases"][name]
