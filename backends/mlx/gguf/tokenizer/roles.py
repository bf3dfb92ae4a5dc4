"""What tokens are for: the special ones, and which of them end a generation.

A file names some by id. Others llama.cpp finds by their texts, and where a file gives one of these
another type, it is taken for a control token all the same. The texts and rules are llama.cpp's
(`src/llama-vocab.cpp`, "auto-detect special tokens by text").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from backends.mlx.gguf.checkpoint.tensor import quoted
from backends.mlx.gguf.tokenizer.vocabulary import PREFIX, TokenType, Vocabulary

# Role -> the keys that name its token, a later one before an earlier. The spelling is the format's.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "bos": ("bos",),
    "eos": ("eos",),
    "eot": ("eot",),
    "eom": ("eom",),
    "unk": ("unknown",),
    "sep": ("seperator",),
    "pad": ("padding",),
    "cls": ("cls",),
    "mask": ("mask",),
    "fim_pre": ("fim_pre", "prefix"),
    "fim_suf": ("fim_suf", "suffix"),
    "fim_mid": ("fim_mid", "middle"),
    "fim_pad": ("fim_pad",),
    "fim_rep": ("fim_rep",),
    "fim_sep": ("fim_sep",),
}
# By the value of `tokenizer.ggml.model`.
_DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "llama": {"bos": 1, "eos": 2, "unk": 0},
    "gpt2": {"bos": 11, "eos": 11},
    "gemma4": {},
}
_TURN_ENDS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
)
_MESSAGE_END = "<|eom_id|>"
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "eot": _TURN_ENDS,
    "eom": (_MESSAGE_END,),
    "fim_pre": (
        "<|fim_prefix|>",
        "<fim-prefix>",
        "<fim_prefix>",
        "<｜fim▁begin｜>",
        "<PRE>",
        "▁<PRE>",
        "<|code_prefix|>",
        "<|prefix|>",
    ),
    "fim_suf": (
        "<|fim_suffix|>",
        "<fim-suffix>",
        "<fim_suffix>",
        "<｜fim▁hole｜>",
        "<SUF>",
        "▁<SUF>",
        "<|code_suffix|>",
        "<|suffix|>",
    ),
    "fim_mid": (
        "<|fim_middle|>",
        "<fim-middle>",
        "<fim_middle>",
        "<｜fim▁end｜>",
        "<MID>",
        "▁<MID>",
        "<|code_middle|>",
        "<|middle|>",
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
_ENDS = (
    *_TURN_ENDS,
    _MESSAGE_END,
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "</s>",
    "[EOS]",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
)
# The parts of a message in the format of gpt-oss, which are shown.
_SHOWN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")


@dataclasses.dataclass(frozen=True)
class Roles:
    """The special tokens of a vocabulary.

    Attributes:
        ids: role ("bos", "eos", "eot", "eom", "unk", "sep", "pad", "cls", "mask", "fim_pre", ...)
            -> id, of those there are.
        named: the roles that the file has a token for: it says which, or its kind of vocabulary
            has one. The others were found by their texts, or are of no use.
        ends: the ids after any of which a generated text is over.
        types: the vocabulary's, with those that the rules change.
    """

    ids: Mapping[str, int]
    named: frozenset[str]
    ends: frozenset[int]
    types: np.ndarray


def find(vocabulary: Vocabulary, *, no_bos: bool = False) -> Roles:
    """The roles of a vocabulary's tokens.

    Args:
        no_bos: there is no BOS token where the file names none.
    """
    ids, named = _by_id(vocabulary, no_bos)
    types = vocabulary.types.copy()
    for role, texts in _TEXTS.items():
        found = [vocabulary.ids[text] for text in texts if text in vocabulary.ids]
        if role not in ids and found:
            ids[role] = min(found)
            _make_control(vocabulary, types, ids[role])
    ends = {ids[role] for role in ("fim_pad", "fim_rep", "fim_sep") if role in ids}
    for index in sorted(vocabulary.ids[text] for text in _ENDS if text in vocabulary.ids):
        ends.add(index)
        _make_control(vocabulary, types, index)
    for text in _SHOWN:
        if text in vocabulary.ids:
            types[vocabulary.ids[text]] = TokenType.USER_DEFINED
    for role in ("eos", "eot", "eom"):
        if role in ids and ids[role] not in ends:
            text = quoted(vocabulary.tokens[ids[role]])
            vocabulary.file.warn(
                f"{PREFIX}{role}_token_id", f"{ids[role]}, {text}, is no known end of a text"
            )
            ends.add(ids[role])
    _remove_what_ends_nothing(vocabulary, ends, types)
    if not ends:
        vocabulary.file.warn(f"{PREFIX}eos_token_id", "no token ends a text")
    return Roles(ids, frozenset(named), frozenset(ends), types)


def _by_id(vocabulary: Vocabulary, no_bos: bool) -> tuple[dict[str, int], set[str]]:
    """The ids that the keys give, or else the kind of vocabulary; and the roles that are named."""
    file, count = vocabulary.file, len(vocabulary.tokens)
    ids = dict(_DEFAULTS[vocabulary.model])
    if no_bos:
        ids.pop("bos", None)
    # 11 is GPT-2's default in llama.cpp, but hardly any vocabulary's token of that kind.
    named = set() if vocabulary.model == "gpt2" else set(ids)
    for role, keys in _KEYS.items():
        if ids.get(role, 0) >= count:
            file.warn(f"{PREFIX}{keys[0]}_token_id", f"the default, {ids.pop(role)}, is no token")
            named.discard(role)
        for name in keys:
            key = f"{PREFIX}{name}_token_id"
            index = file.optional(key, int)
            if index is None:
                continue
            if 0 <= index < count:
                ids[role] = index
                named.add(role)
            else:
                default = f"the default, {ids[role]}" if role in ids else "none"
                file.warn(key, f"{index} is no token of {count}: taken for {default}")
    return ids, named


def _make_control(vocabulary: Vocabulary, types: np.ndarray, index: int) -> None:
    if types[index] != TokenType.CONTROL:
        vocabulary.file.warn(
            f"{PREFIX}token_type",
            f"token {index}, {quoted(vocabulary.tokens[index])}, is no control token in the file:"
            " taken for one, by its text",
        )
        types[index] = TokenType.CONTROL


def _remove_what_ends_nothing(vocabulary: Vocabulary, ends: set[int], types: np.ndarray) -> None:
    """Ends of a message in formats that have other ends for the turn, changed in place."""
    texts = {vocabulary.tokens[index] for index in ends}
    calls = texts & {"<|call|>", "<|calls|>"}
    for text, others, type_ in (
        ("<|end|>", calls and texts & {"<|return|>", "<|flush|>"}, TokenType.USER_DEFINED),
        ("</s>", texts & {"<|tool_response>"}, TokenType.NORMAL),
    ):
        if text in texts and others:
            index = vocabulary.ids[text]
            ends.remove(index)
            types[index] = type_
            vocabulary.file.warn(
                f"{PREFIX}tokens",
                f"{quoted(text)} ends no text where {' and '.join(sorted(others))} can",
            )
