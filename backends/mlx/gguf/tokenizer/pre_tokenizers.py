"""How byte-level BPE vocabularies split text into words, by the name in `tokenizer.ggml.pre`.

The expressions are those the models were trained with, as their `tokenizer.json` has them and
llama.cpp's `llama-vocab.cpp` groups them. They are applied one after another, each to the pieces
that the one before left; what an expression does not match stays a piece too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class PreTokenizer(NamedTuple):
    """One way of splitting.

    Attributes:
        splits: regular expressions (Oniguruma's syntax), in the order they apply.
        whole_words: a word that is itself a token is taken as it is, whatever the merges give.
        add_bos: whether a prompt starts with the BOS token where the file does not say.
    """

    splits: tuple[str, ...]
    whole_words: bool = False
    add_bos: bool = False


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SYMBOLS_AND_SPACES = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SYMBOLS_AND_SPACES}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_SYMBOLS_AND_SPACES}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_ROWS = (
    (PreTokenizer((_GPT2,)), ("gpt-2", "phi-2", "mpt", "olmo", "exaone4")),
    (
        PreTokenizer((r"\p{N}", _GPT2)),
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    ),
    (
        PreTokenizer((_LLAMA3,), whole_words=True, add_bos=True),
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral"),
    ),
    (PreTokenizer((_LLAMA3,)), ("dbrx", "smaug-bpe")),
    (PreTokenizer((_QWEN2,)), ("qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez")),
    (PreTokenizer((_TEKKEN,), whole_words=True, add_bos=True), ("tekken",)),
    (
        PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")),
        ("deepseek-coder",),
    ),
    (
        PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
        ("default",),
    ),
)

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {name: row for row, names in _ROWS for name in names}
