"""Builds the tokenizer that a GGUF file's metadata describes, as the `tokenizers` library's own.

`transformers` has such a converter, but it knows fewer pre-tokenizers (SmolLM's splitting of
digits is missing) and reads the file with a slower reader.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.tensor import quoted
from backends.mlx.gguf.tokenizer.pre_tokenizers import PRE_TOKENIZERS
from backends.mlx.gguf.tokenizer.vocabulary import (
    PREFIX,
    TokenType,
    Vocabulary,
    error,
    per_token,
)

# SentencePiece's spelling of a space.
SPACE = "\u2581"


def build(file: GGUFFile) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer of a file, and the contents of its `tokenizer_config.json`.

    Raises:
        GGUFError: a key is missing, of another kind, or at odds with the others.
    """
    vocabulary = Vocabulary.read(file)
    builders = {"gpt2": _byte_level, "llama": _sentence_piece}
    if vocabulary.model not in builders:
        raise error(file, "model", " or ".join(builders), quoted(vocabulary.model))
    tokenizer, adds_bos = builders[vocabulary.model](vocabulary)
    _add_whole_tokens(tokenizer, vocabulary)
    config = _config(vocabulary, adds_bos)
    tokenizer.post_processor = _post_processor(vocabulary, config)
    return tokenizer, config


def _byte_level(vocabulary: Vocabulary) -> tuple[tokenizers.Tokenizer, bool]:
    """GPT-2's kind: words by regular expressions, bytes spelled as letters, ranked merges.

    Also whether a prompt starts with BOS where the file does not say.
    """
    name = vocabulary.file.require(f"{PREFIX}pre", str)
    if name not in PRE_TOKENIZERS:
        raise error(vocabulary.file, "pre", f"one of {', '.join(PRE_TOKENIZERS)}", quoted(name))
    row = PRE_TOKENIZERS[name]
    tokenizer = tokenizers.Tokenizer(
        models.BPE(dict(vocabulary.ids), _listed_merges(vocabulary), ignore_merges=row.whole_words)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(tokenizers.Regex(split), "isolated") for split in row.splits),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, row.add_bos


def _listed_merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    merges = []
    for index, text in enumerate(vocabulary.file.require(f"{PREFIX}merges", tuple)):
        left, space, right = text.partition(" ")
        if not (left and space and right) or " " in right:
            raise error(
                vocabulary.file,
                "merges",
                "two tokens with a space between them",
                f"{quoted(text)} as merge {index}",
            )
        for token in (left, right, left + right):
            if token not in vocabulary.ids:
                raise error(
                    vocabulary.file,
                    "merges",
                    "tokens of the vocabulary",
                    f"{quoted(token)} in merge {index}",
                )
        merges.append((left, right))
    return merges


def _sentence_piece(vocabulary: Vocabulary) -> tuple[tokenizers.Tokenizer, bool]:
    """SentencePiece's BPE: the best-scored pair first; what is no token falls to its bytes.

    Also whether a prompt starts with BOS where the file does not say.
    """
    file = vocabulary.file
    spelled = {vocabulary.tokens[index] for index in vocabulary.of_type(TokenType.BYTE)}
    absent = sorted({f"<0x{byte:02X}>" for byte in range(256)} - spelled)
    if absent:
        raise error(
            file,
            "tokens",
            "a token of type byte for each of 256 bytes",
            f"none for {absent[0]} and {len(absent) - 1} more",
        )
    unknown = vocabulary.special_id("unknown")
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            dict(vocabulary.ids),
            _scored_merges(vocabulary),
            byte_fallback=True,
            fuse_unk=True,
            unk_token=None if unknown is None else vocabulary.tokens[unknown],
        )
    )
    # llama.cpp puts the space before every piece of text: the first, and each after a special
    # token. So does Prepend.
    prefix = file.optional(f"{PREFIX}add_space_prefix", bool, True)
    spaces = normalizers.Replace(" ", SPACE)
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    )
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer, True


def _scored_merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Every way to make a token of two others, those with the best result first."""
    scores = per_token(vocabulary.file, "scores", len(vocabulary.tokens), "f")
    if not np.isfinite(scores).all():
        index = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise error(vocabulary.file, "scores", "finite numbers", f"{scores[index]} at {index}")
    mergeable = vocabulary.of_type(TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.UNUSED)
    ids, merges = vocabulary.ids, []
    for index in sorted(mergeable, key=(-scores).tolist().__getitem__):
        token = vocabulary.tokens[index]
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ids and right in ids:
                merges.append((left, right))
    return merges


def _add_whole_tokens(tokenizer: tokenizers.Tokenizer, vocabulary: Vocabulary) -> None:
    """Marks the tokens that are found in the text before anything else splits it."""
    for special, types in (
        (True, (TokenType.CONTROL, TokenType.UNKNOWN)),
        (False, (TokenType.USER_DEFINED,)),
    ):
        # The library has no place for a token without text, which nothing could match anyway.
        texts = filter(None, (vocabulary.tokens[index] for index in vocabulary.of_type(*types)))
        tokens = [tokenizers.AddedToken(text, normalized=False, special=special) for text in texts]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(tokens)


def _config(vocabulary: Vocabulary, adds_bos: bool) -> dict[str, Any]:
    """The contents of `tokenizer_config.json`, by the names that transformers gives them."""
    file = vocabulary.file
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": file.optional(f"{PREFIX}add_bos_token", bool, adds_bos),
        "add_eos_token": file.optional(f"{PREFIX}add_eos_token", bool, False),
    }
    for name, key in (
        ("bos", "bos"),
        ("eos", "eos"),
        ("eot", "eot"),
        ("eom", "eom"),
        ("unk", "unknown"),
        ("pad", "padding"),
    ):
        index = vocabulary.special_id(key)
        if index is not None:
            config[f"{name}_token"] = vocabulary.tokens[index]
    for name in ("bos", "eos"):
        if config[f"add_{name}_token"] and f"{name}_token" not in config:
            raise error(
                file, f"{name}_token_id", "the token that every prompt needs", "no such key"
            )
    if "eos_token" not in config:
        raise error(file, "eos_token_id", "the token that ends a text", "no such key")
    template = file.optional("tokenizer.chat_template", str)
    if template is not None:
        config["chat_template"] = template
    return config


def _post_processor(
    vocabulary: Vocabulary, config: dict[str, Any]
) -> processors.TemplateProcessing:
    """Puts BOS before and EOS after a text, where the file wants them."""
    # By labels, as a token's text may hold what the template's own syntax gives a meaning.
    single, labels = ["$A"], []
    for name in ("bos", "eos"):
        if config[f"add_{name}_token"]:
            single.insert(0 if name == "bos" else len(single), name)
            text = config[f"{name}_token"]
            labels.append({"id": name, "ids": [vocabulary.ids[text]], "tokens": [text]})
    return processors.TemplateProcessing(single=single, special_tokens=labels)
