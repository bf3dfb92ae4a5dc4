"""Tests of building tokenizers: small ones of both kinds, and every kind of damaged metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.checkpoint.testing import write
from backends.mlx.gguf.tokenizer.builder import build
from backends.mlx.gguf.tokenizer.testing import (
    BOS,
    EOS,
    MARK,
    TURN_END,
    byte_level,
    sentence_piece,
)
from backends.mlx.gguf.tokenizer.testing_cases import with_tokens
from backends.mlx.gguf.tokenizer.vocabulary import TokenType

KINDS = {"gpt2": byte_level, "llama": sentence_piece}


def _tokens(path: Path, metadata: dict[str, Any], text: str, **changes: Any) -> list[str]:
    tokenizer, _ = build(
        GGUFFile(
            write(
                path, metadata | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
            )
        )
    )
    return tokenizer.encode(text).tokens


# The words before merges, which the sample has next to none of. Each row tells its regular
# expressions from the others'.
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-2", ["x", " 1234", "'s", "'", "S", "!", "\n\n\n ", " y"]),
        ("smollm", ["x", " ", "1", "2", "3", "4", "'s", "'", "S", "!", "\n\n\n ", " y"]),
        ("llama-bpe", ["x", " ", "123", "4", "'s", "'S", "!\n\n\n", " ", " y"]),
        ("qwen2", ["x", " ", "1", "2", "3", "4", "'s", "'S", "!\n\n\n", " ", " y"]),
        ("tekken", ["x", " ", "1", "2", "3", "4", "'s", "'S", "!\n\n\n", " ", " y"]),
        (
            "deepseek-coder",
            ["x", " ", "1", "2", "3", "4", "'", "s", "'", "S", "!", "\n", "\n", "\n", " ", " y"],
        ),
        ("default", ["x", " ", "123", "4", "'", "s", "'", "S", "!", "\n\n\n ", " y"]),
    ],
)
def test_words(tmp_path: Path, name: str, words: list[str]) -> None:
    metadata = byte_level() | {"tokenizer.ggml.pre": name}
    tokenizer, _ = build(GGUFFile(write(tmp_path / "words.gguf", metadata)))
    text = "x 1234's'S!\n\n\n  y"
    found = tokenizer.pre_tokenizer.pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in found] == words


def test_byte_level_merges_by_rank(tmp_path: Path) -> None:
    path = tmp_path / "ranks.gguf"
    assert _tokens(path, byte_level(), "hello hello") == ["hello", "Ġhello"]
    assert _tokens(path, byte_level(), "hell 123 कि") == [
        "hell",
        "Ġ",
        "123",
        "Ġ",
        "à¤",
        "ķ",
        "à¤",
        "¿",
    ]


def test_whole_words_need_no_merges(tmp_path: Path) -> None:
    metadata = byte_level()
    metadata["tokenizer.ggml.tokens"][-1] = "odd"
    path = tmp_path / "whole.gguf"
    assert _tokens(path, metadata, "odd") == ["o", "d", "d"]
    assert _tokens(path, metadata, "odd", pre="llama-bpe") == [BOS, "odd"]


def test_sentence_piece_merges_by_score_and_falls_to_bytes(tmp_path: Path) -> None:
    path = tmp_path / "scores.gguf"
    assert _tokens(path, sentence_piece(), "hello a") == [BOS, "▁hello", "▁a"]
    assert _tokens(path, sentence_piece(), "hell é", add_bos_token=False) == [
        "▁",
        "hell",
        "▁",
        "<0xC3>",
        "<0xA9>",
    ]
    assert _tokens(path, sentence_piece(), "hello", add_space_prefix=False) == [BOS, "hello"]
    better = sentence_piece()
    scores, tokens = better["tokenizer.ggml.scores"], better["tokenizer.ggml.tokens"]
    scores[tokens.index("hello")], scores[tokens.index("▁hello")] = -1000.0, -1001.0
    scores[tokens.index("▁a")] = -2000.0
    assert _tokens(path, better, " aa")[1:] == ["▁", "▁", "aa"]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_tokens(tmp_path: Path, kind: str) -> None:
    tokenizer, _ = build(GGUFFile(write(tmp_path / "whole.gguf", KINDS[kind]())))
    text = f"a{MARK}a{TURN_END}"
    tokenizer.encode_special_tokens = False
    found = tokenizer.encode(text, add_special_tokens=False).tokens
    space = "▁" if kind == "llama" else ""
    assert found == [f"{space}a", MARK, f"{space}a", TURN_END]
    tokenizer.encode_special_tokens = True
    found = tokenizer.encode(text, add_special_tokens=False).tokens
    assert found[:2] == [f"{space}a", MARK] and TURN_END not in found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bos", [True, False, None])
@pytest.mark.parametrize("eos", [True, False, None])
def test_bos_and_eos(tmp_path: Path, kind: str, bos: bool | None, eos: bool | None) -> None:
    changes = {
        key: value
        for key, value in (("add_bos_token", bos), ("add_eos_token", eos))
        if value is not None
    }
    found = _tokens(tmp_path / "ends.gguf", KINDS[kind](), "a", **changes)
    assert (found[0] == BOS) == (kind == "llama" if bos is None else bos)
    assert (found[-1] == EOS) == bool(eos)


def test_config(tmp_path: Path) -> None:
    path = write(tmp_path / "config.gguf", byte_level() | {"tokenizer.ggml.eot_token_id": 3})
    _, config = build(GGUFFile(path))
    letter = byte_level()["tokenizer.ggml.tokens"][3]
    assert (config["bos_token"], config["eos_token"]) == (BOS, EOS)
    ends = [3, *(byte_level()["tokenizer.ggml.tokens"].index(text) for text in (EOS, TURN_END))]
    assert config["eos_token_id"] == ends and letter not in config.values()
    assert config["chat_template"] == byte_level()["tokenizer.chat_template"]
    assert "unk_token" not in config


def _changed(kind: str, key: str, change) -> dict[str, Any]:
    metadata = KINDS[kind]()
    value = change(metadata.pop(f"tokenizer.ggml.{key}", None))
    return metadata if value is None else metadata | {f"tokenizer.ggml.{key}": value}


def _drop(_: Any) -> None:
    return None


@pytest.mark.parametrize(
    ("kind", "key", "change", "message"),
    [
        ("gpt2", "model", _drop, "expected a string, found no such key"),
        ("gpt2", "model", lambda _: "bert", "expected gpt2 or llama or gemma4, found 'bert'"),
        ("gpt2", "tokens", _drop, "expected an array of strings, found no such key"),
        (
            "gpt2",
            "tokens",
            lambda _: [1, 2],
            "expected an array of strings, found an array of numbers",
        ),
        (
            "gpt2",
            "tokens",
            lambda old: [*old[:-1], old[7]],
            "expected each token once, found '(' as 7 and 319",
        ),
        (
            "gpt2",
            "token_type",
            lambda old: old[:-1],
            "expected 320 values, one for each token, found 319",
        ),
        ("gpt2", "token_type", lambda old: [True] * len(old), "expected an array of numbers"),
        ("gpt2", "pre", lambda _: "future", "expected one of a.x-4.0, afmoe, "),
        ("gpt2", "merges", _drop, "expected an array of strings, found no such key"),
        ("gpt2", "merges", lambda _: "a b", "expected an array of strings, found a string"),
        ("llama", "bos_token_id", lambda _: "1", "expected an integer, found a string"),
        ("llama", "scores", _drop, "expected an array of numbers, found no such key"),
        (
            "llama",
            "scores",
            lambda old: old[:10],
            "expected 320 values, one for each token, found 10",
        ),
        (
            "llama",
            "scores",
            lambda old: [0.0] * len(old),
            "expected another score for each token that is made of two others, found 0 for",
        ),
        (
            "llama",
            "scores",
            lambda old: [*old[:-1], float("nan")],
            "expected finite numbers, found nan at 319",
        ),
        ("llama", "add_bos_token", lambda _: 1, "expected a bool, found an integer"),
        ("llama", "add_space_prefix", lambda _: "no", "expected a bool, found a string"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "",
)
def test_damage_is_named(tmp_path: Path, kind: str, key: str, change, message: str) -> None:
    path = write(tmp_path / "damaged.gguf", _changed(kind, key, change))
    with pytest.raises(GGUFError) as caught:
        build(GGUFFile(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: metadata 'tokenizer.ggml.{key}': ") and message in text
    assert len(text.splitlines()) == 1


def _warnings(path: Path, metadata: dict[str, Any]) -> list[str]:
    file = GGUFFile(write(path, metadata))
    build(file)
    return [line.removeprefix("tokenizer.ggml.") for line in file.warnings]


@pytest.mark.parametrize(
    ("kind", "key", "change", "warning"),
    [
        ("gpt2", "pre", _drop, "pre: the file does not say how text is split into words"),
        (
            "gpt2",
            "tokens",
            lambda old: ["", *old[1:]],
            "tokens: 1 without text, the first of them 0",
        ),
        ("gpt2", "token_type", lambda old: [*old[:-1], 9], "token_type: 9 of token 319 and 0 more"),
        ("gpt2", "merges", lambda old: [*old, "h hh"], "merges: 1 can never apply, or occur twice"),
        ("gpt2", "merges", lambda old: [*old, "h z"], "merges: 'hz' and 0 more that they make are"),
        (
            "gpt2",
            "padding_token_id",
            lambda _: 4294967295,
            "padding_token_id: 4294967295 is no token of 320: taken for none",
        ),
        (
            "llama",
            "bos_token_id",
            lambda _: 320,
            "bos_token_id: 320 is no token of 320: taken for the default, 1",
        ),
        ("gpt2", "eos_token_id", lambda _: 3, "eos_token_id: 3, '$', is no known end of a text"),
        (
            "gpt2",
            "token_type",
            lambda old: [1] * len(old),
            "token_type: token 266, '<|end_of_text|>', is no control token in the file",
        ),
        (
            "llama",
            "tokens",
            lambda old: ["byte", *old[1:]],
            "tokens: none for the byte <0x00> and 0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "",
)
def test_what_is_odd_is_warned_of(
    tmp_path: Path, kind: str, key: str, change, warning: str
) -> None:
    path = tmp_path / "odd.gguf"
    assert _warnings(path, KINDS[kind]()) == []
    assert any(line.startswith(warning) for line in _warnings(path, _changed(kind, key, change)))


def test_harmony(tmp_path: Path) -> None:
    metadata = with_tokens(
        byte_level(), *((text, 3) for text in ("<|end|>", "<|return|>", "<|call|>"))
    )
    (warning,) = _warnings(tmp_path / "harmony.gguf", metadata)
    assert warning == "tokens: '<|end|>' ends no text where <|return|> can"


def test_embedding_of_another_size(tmp_path: Path) -> None:
    def file(rows: int) -> GGUFFile:
        tensors = {"token_embd.weight": np.zeros((rows, 32), np.float32)}
        return GGUFFile(write(tmp_path / f"{rows}.gguf", byte_level(320), tensors))

    build(file(320))
    with pytest.raises(GGUFError, match="expected 384, as token_embd.weight has rows, found 320"):
        build(file(384))


def test_unused_tokens_are_text(tmp_path: Path) -> None:
    metadata = byte_level()
    assert metadata["tokenizer.ggml.token_type"][-1] == TokenType.UNUSED
    unused = metadata["tokenizer.ggml.tokens"][-1]
    assert "".join(_tokens(tmp_path / "unused.gguf", metadata, unused)) == unused
    assert len(_tokens(tmp_path / "unused.gguf", metadata, unused)) == len(unused)
