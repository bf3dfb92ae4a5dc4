"""Builds the tokenizer that a GGUF file's metadata describes, as the `tokenizers` library's own.

`transformers` has such a converter, but it knows fewer pre-tokenizers (SmolLM's splitting of
digits is missing) and reads the file with a slower reader. The ids are llama.cpp's; the form is one
that ExecuTorch's C++ tokenizer reads as `tokenizers` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.tensor import quoted
from backends.mlx.gguf.tokenizer import merges, roles
from backends.mlx.gguf.tokenizer.expressions import covering, exact
from backends.mlx.gguf.tokenizer.merges import SPACE
from backends.mlx.gguf.tokenizer.pre_tokenizers import PRE_TOKENIZERS, PreTokenizer
from backends.mlx.gguf.tokenizer.roles import Roles
from backends.mlx.gguf.tokenizer.vocabulary import (
    PREFIX,
    TokenType,
    Vocabulary,
    error,
)

TEMPLATE = "tokenizer.chat_template"

_MODELS = ("gpt2", "llama", "gemma4")
# The roles whose tokens chat templates know by name.
_NAMED = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class _Words(NamedTuple):
    """How a kind of vocabulary reads a text between whole tokens.

    `lacking` has, for each id beyond the vocabulary, the ids that it stands for.
    """

    tokenizer: tokenizers.Tokenizer
    lacking: Mapping[int, list[int]] = {}


def build(file: GGUFFile) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer of a file, and the contents of its `tokenizer_config.json`.

    Raises:
        GGUFError: a key is missing, of another kind, or at odds with the others.
    """
    vocabulary = Vocabulary.read(file)
    if vocabulary.model not in _MODELS:
        raise error(file, "model", " or ".join(_MODELS), quoted(vocabulary.model))
    row = _pre_tokenizer(vocabulary)
    found = roles.find(vocabulary, no_bos=row is not None and row.no_bos)
    vocabulary = dataclasses.replace(vocabulary, types=found.types)
    if row is None:
        words = _sentence_piece(vocabulary)
    elif row.plain:
        words = _characters(vocabulary, row)
    else:
        words = _byte_level(vocabulary, row)
    _add_whole_tokens(words.tokenizer, vocabulary)
    config = _config(vocabulary, found, row)
    if words.lacking:
        config["lacking_tokens"] = {str(index): ids for index, ids in words.lacking.items()}
    words.tokenizer.post_processor = _post_processor(vocabulary, found, config)
    return words.tokenizer, config


def _pre_tokenizer(vocabulary: Vocabulary) -> PreTokenizer | None:
    """The row of the file's `pre`, None for SentencePiece, which splits nothing."""
    if vocabulary.model == "llama":
        return None
    if vocabulary.model == "gemma4":
        return PRE_TOKENIZERS["gemma4"]
    name = vocabulary.file.optional(f"{PREFIX}pre", str, "")
    if not name:
        vocabulary.file.warn(
            f"{PREFIX}pre",
            "the file does not say how text is split into words: taken for 'default', WHICH MAKES"
            " THE TEXT THAT THE MODEL WRITES WORSE; convert the model again",
        )
        name = "default"
    if name not in PRE_TOKENIZERS:
        known = ", ".join(sorted(PRE_TOKENIZERS))
        raise error(vocabulary.file, "pre", f"one of {known}", quoted(name))
    return PRE_TOKENIZERS[name]


def _byte_level(vocabulary: Vocabulary, row: PreTokenizer) -> _Words:
    """GPT-2's kind: words by regular expressions, bytes spelled as letters, ranked merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    ranked: merges.Merges = []
    lacking: list[str] = []
    if row is not PRE_TOKENIZERS["kimi-k2"] or f"{PREFIX}merges" in vocabulary.file.metadata:
        ranked, lacking = merges.listed(vocabulary, letters)
    lacking = list(dict.fromkeys([*lacking, *(set(letters) - vocabulary.ids.keys())]))
    ids, spelled = _completed(
        vocabulary, lacking, lambda text: [letter for letter in text if letter.isascii()]
    )
    tokenizer = tokenizers.Tokenizer(models.BPE(ids, ranked, ignore_merges=row.whole_words))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*_splits(row), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return _Words(tokenizer, spelled)


def _characters(vocabulary: Vocabulary, row: PreTokenizer) -> _Words:
    """Gemma 4's kind: ranked merges of characters; what is no token falls to its bytes."""
    ranked, lacking = merges.listed(vocabulary, None)
    ids, spelled = _completed(vocabulary, lacking, lambda text: map(_byte_token, text.encode()))
    tokenizer = _with_byte_fallback(vocabulary, ids, ranked)
    if row.spaces != " ":
        tokenizer.normalizer = normalizers.Replace(" ", row.spaces)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_splits(row))
    tokenizer.decoder = _plain_decoder()
    if row.always_bos:
        _check_lines(vocabulary, tokenizer)
    return _Words(tokenizer, spelled)


def _completed(
    vocabulary: Vocabulary, lacking: Sequence[str], spell: Callable[[str], Iterable[str]]
) -> tuple[dict[str, int], dict[int, list[int]]]:
    """The vocabulary with the tokens that it lacks, and what the ids of those stand for.

    llama.cpp looks up, byte by byte, what is no token; bytes that are none either are dropped.

    Args:
        spell: the tokens of a text's bytes.
    """
    first = len(vocabulary.tokens)
    added = {text: first + place for place, text in enumerate(lacking)}
    made = [text for text in lacking if len(text) > 1]
    if made:
        vocabulary.file.warn(
            f"{PREFIX}merges",
            f"{quoted(made[0])} and {len(made) - 1} more that they make are no tokens: taken byte"
            " by byte, or dropped; to ExecuTorch's tokenizer they are ids beyond the vocabulary",
        )
    ids = vocabulary.ids
    return dict(ids) | added, {
        index: [ids[token] for token in spell(text) if token in ids]
        for text, index in added.items()
    }


def _check_lines(vocabulary: Vocabulary, tokenizer: tokenizers.Tokenizer) -> None:
    """llama.cpp takes a run of newlines that is a token as it is; merges must give the same."""
    for token, index in vocabulary.ids.items():
        if not token.strip("\n") and tokenizer.encode(token).ids != [index]:
            raise error(
                vocabulary.file, "merges", "some that make every run of newlines", quoted(token)
            )


def _sentence_piece(vocabulary: Vocabulary) -> _Words:
    """SentencePiece's BPE: the best-scored pair first; what is no token falls to its bytes."""
    tokenizer = _with_byte_fallback(vocabulary, dict(vocabulary.ids), merges.scored(vocabulary))
    # llama.cpp puts the space before every piece of text: the first, and each after a special
    # token. So does Prepend.
    prefix = vocabulary.file.optional(f"{PREFIX}add_space_prefix", bool, True)
    spaces = normalizers.Replace(" ", SPACE)
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    )
    tokenizer.decoder = _plain_decoder(*([decoders.Strip(" ", 1, 0)] if prefix else []))
    return _Words(tokenizer)


def _with_byte_fallback(
    vocabulary: Vocabulary, ids: dict[str, int], ranked: merges.Merges
) -> tokenizers.Tokenizer:
    absent = [byte for byte in range(256) if _byte_token(byte) not in ids]
    if absent:
        vocabulary.file.warn(
            f"{PREFIX}tokens",
            f"none for the byte {_byte_token(absent[0])} and {len(absent) - 1} more: a text with"
            " characters that need them is refused",
        )
    return tokenizers.Tokenizer(models.BPE(ids, ranked, byte_fallback=True))


def _byte_token(byte: int) -> str:
    return f"<0x{byte:02X}>"


def _plain_decoder(*more: decoders.Decoder) -> decoders.Decoder:
    return decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *more]
    )


def _splits(row: PreTokenizer) -> list[pre_tokenizers.PreTokenizer]:
    return [
        pre_tokenizers.Split(tokenizers.Regex(covering(exact(split))), "isolated")
        for split in row.splits
    ]


def _add_whole_tokens(tokenizer: tokenizers.Tokenizer, vocabulary: Vocabulary) -> None:
    """Marks the tokens that are found in the text before anything else splits it."""
    spaces_before, spaces_after = _swallowed_spaces(vocabulary)
    for special, types in (
        (True, (TokenType.CONTROL, TokenType.UNKNOWN)),
        (False, (TokenType.USER_DEFINED,)),
    ):
        tokens = [
            tokenizers.AddedToken(
                vocabulary.tokens[index],
                normalized=False,
                special=special,
                lstrip=index in spaces_before,
                rstrip=index in spaces_after,
            )
            for index in vocabulary.of_type(*types)
        ]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(tokens)


def _swallowed_spaces(vocabulary: Vocabulary) -> tuple[set[int], set[int]]:
    """The ids of tokens that take the spaces before them, or after them, into themselves.

    The format has no place for it: llama.cpp knows it by names, at the end of `load`.
    """
    file, ids = vocabulary.file, vocabulary.ids
    name = (file.optional("general.name", str) or "").lower()
    split = file.metadata.get(f"{PREFIX}pre") if vocabulary.model == "gpt2" else None
    if split in ("jina-v2-de", "jina-v2-es", "jina-v2-code"):
        return {ids["<mask>"]} if "<mask>" in ids else set(), set()
    if "phi-3" in name or "phi3" in name:
        whole = vocabulary.of_type(TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED)
        return set(), set(whole) - {
            ids[text] for text in ("<unk>", "<s>", "<|endoftext|>") if text in ids
        }
    if "modern-bert" in name and "[MASK]" in ids:
        return {ids["[MASK]"]}, set()
    return set(), set()


def _config(vocabulary: Vocabulary, found: Roles, row: PreTokenizer | None) -> dict[str, Any]:
    """The contents of `tokenizer_config.json`, by the names that transformers gives them."""
    file = vocabulary.file
    adds_bos = file.optional(f"{PREFIX}add_bos_token", bool, row is None or row.add_bos)
    if row is not None and row.always_bos and not adds_bos:
        file.warn(f"{PREFIX}add_bos_token", "false: taken for true, as this kind needs it")
        adds_bos = True
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": adds_bos,
        "add_eos_token": file.optional(f"{PREFIX}add_eos_token", bool, False),
        "eos_token_id": sorted(found.ends),
    }
    for role in ("bos", "eos"):
        if config[f"add_{role}_token"] and role not in found.ids:
            raise error(
                file, f"{role}_token_id", "the token that every prompt needs", "no such key"
            )
    for role in _NAMED:
        if role in found.named or (role in ("bos", "eos") and config[f"add_{role}_token"]):
            config[f"{role}_token"] = vocabulary.tokens[found.ids[role]]
    template = _template(file)
    if template is not None:
        config["chat_template"] = template
    return config


def _template(file: GGUFFile) -> str | None:
    """The template for a conversation without tools, None if there is none or it is blank."""
    template = file.optional(TEMPLATE, str)
    # Others, such as one for tools, are not needed here.
    file.optional(f"{TEMPLATE}s", tuple)
    others = [key for key in file.metadata if key.startswith(f"{TEMPLATE}.")]
    for key in others:
        file.optional(key, str)
    if template is not None and template.strip():
        return template
    if others:
        names = ", ".join(key.removeprefix(f"{TEMPLATE}.") for key in others)
        file.warn(TEMPLATE, f"no template but those for {names}: there is no chat format")
    return None


def _post_processor(
    vocabulary: Vocabulary, found: Roles, config: dict[str, Any]
) -> processors.TemplateProcessing:
    """Puts BOS before and EOS after a text, where the file wants them."""
    # By labels, as a token's text may hold what the template's own syntax gives a meaning.
    single, labels = ["$A"], []
    for name in ("bos", "eos"):
        if config[f"add_{name}_token"]:
            single.insert(0 if name == "bos" else len(single), name)
            index = found.ids[name]
            labels.append({"id": name, "ids": [index], "tokens": [vocabulary.tokens[index]]})
    return processors.TemplateProcessing(single=single, special_tokens=labels)
