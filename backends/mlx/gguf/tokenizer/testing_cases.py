"""Vocabularies and texts whose ids llama.cpp gave: see `testing_llama_cpp.py`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from tokenizers import pre_tokenizers

from backends.mlx.gguf.tokenizer.testing import MARK, TURN_END, byte_level, sentence_piece
from backends.mlx.gguf.tokenizer.vocabulary import TokenType

Metadata = dict[str, Any]

TEXTS = (
    "",
    " ",
    "a",
    " a",
    "  a  ",
    "\n",
    "\n\n\n x\t\ty\r\n",
    "a\r\nb\r\r\n\n c\n",
    "x" * 300,
    " " * 70 + "a",
    " " * 300 + "b" + " " * 600,
    "日本語テキスト と 中文，全角！",
    "emoji 👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 é",
    "e\u0301\u0302\u0303 \u0301 क्षि ก็็ a\u20dd",
    "مرحبا بالعالم ไทย हिन्दी 한국어 ひらがなカタカナ漢字",
    "def f(x):\n    return x**2  # 12345\n\n\nclass A: pass",
    "3.14159 2023-11-24 1e-5 1234567 ٣٤٥٦ 1234٣ ٣1234 ²³ ½ Ⅷ",
    "don't I'LL we’ve 'S HeLLo WORLDs ÉCOLE aÉ ÀÉa I'Ve 'VE'Ll's ſ'ſ 'K",
    "<table><tr> a</tr>",
    "\x00\x01\x7f\u0080\ufffd\x00a 1\x00",
    "\x011 \x0112 \x01123 a1234567",
    "\U0010ffff\ue000a \ue123\uf8ff1",
    "~abc ~~ a~b ~1 $~ `x` ^^ |_| <=>",
    "a\u0085b\u00a0c\u3000\u3000d \u2028e\u180ef\u200bg \u2002\u0358\ufeff",
    "ꟊꟋ 𞗐x \U0001fa89\U0001fa88 Ᲊ\u0897",  # the second of each pair is Unicode 16's
    "<sentinel:12>IMGIMGABZ IMGIMGABCDEZ\t\n   x",
    f"hello{MARK}hello {MARK} hello {TURN_END} hell{TURN_END}\n<|begin|><|im_end|><unused300>",
    "<s>hello</s> <unk>▁hello▁ <0x41><0x0A> \\n",
)
_ALPHABETS = (
    *[(0x20, 0x7F)] * 4,
    *((0x80, 0x250), (0x250, 0x3000), (0x300, 0x370), (0x600, 0x700), (0x900, 0xE80)),
    *((0x2000, 0x2070), (0x3000, 0x3100), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xE000, 0xE010)),
    *((0x10000, 0x20000), (0x1F300, 0x1F700), (0, 0xD800), (0xE000, 0x110000)),
)
_FREQUENT = (
    *" \n\t\r'059asSLlVveErRtTmMdD.,!?/~|()-_éÉ中の가ก٣²",
    *("  ", "\r\n", "123", "'s", " a", "hello", "\u0301", "\u00a0", "\u200d", TURN_END, MARK),
)


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Letters, digits, spaces and marks of many scripts, mixed without sense."""
    generator = random.Random(seed)
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(generator.randrange(5, 40)):
            kind = generator.randrange(20)
            if kind < 10:
                parts.append(chr(generator.randrange(*generator.choice(_ALPHABETS))))
            elif kind < 19:
                parts.append(generator.choice(_FREQUENT))
            else:
                parts.append(generator.choice(" \n1x") * generator.randrange(2, 9))
        texts.append("".join(parts))
    return texts


def pairs(count: int = 12000) -> Metadata:
    """A "gpt2" vocabulary that shows where words end: bytes, and many pairs of them as merges."""
    generator = random.Random(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Those of ASCII's and of the first scripts of UTF-8, before all others.
    frequent = [
        letter
        for letter in letters
        if letter < "\x7f" or letter in "ĠĊčĉÃÂÌÍÙØàáâãäåæçèéêëìíîïðĢģĤĥĦħĨ©¹½¤"
    ]
    every = [(left, right) for left in frequent for right in frequent]
    merges = generator.sample(every, min(count, len(every)))
    tokens = [*letters, *(left + right for left, right in merges), "<|endoftext|>"]
    return {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * (len(tokens) - 1) + [3],
        "tokenizer.ggml.merges": [f"{left} {right}" for left, right in merges],
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.bos_token_id": len(tokens) - 1,
        "tokenizer.ggml.eos_token_id": len(tokens) - 1,
        "tokenizer.ggml.seperator_token_id": len(tokens) - 1,
    }


def characters() -> Metadata:
    """A "gemma4" vocabulary: bytes, characters and words, merges of characters."""
    merges = ["h e", "l l", "he ll", "hell o", "▁ hello", "\n \n", "\n\n \n", "中 文", "1 2", "▁ ▁"]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += ["▁", "\n", *"abcehlosx中文12", *(merge.replace(" ", "") for merge in merges)]
    tokens += ["<turn|>", TURN_END, MARK]
    types = [3] * 4 + [6] * 256 + [1] * (len(tokens) - 263) + [3, 3, 4]
    return {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 1,
    }


def changed(metadata: Metadata, *absent: str, **values: Any) -> Metadata:
    """The metadata without some keys of `tokenizer.ggml.`, and with other values of others."""
    kept = {
        key: value
        for key, value in metadata.items()
        if key.removeprefix("tokenizer.ggml.") not in absent
    }
    new = {f"tokenizer.ggml.{key}": value for key, value in values.items()}
    return {"general.architecture": "llama"} | kept | new


def with_tokens(metadata: Metadata, *added: tuple[str, int]) -> Metadata:
    """The metadata with more tokens, texts and types, at the end."""
    metadata = changed(metadata)
    for key, place in (("tokens", 0), ("token_type", 1)):
        old = metadata[f"tokenizer.ggml.{key}"]
        metadata[f"tokenizer.ggml.{key}"] = [*old, *(new[place] for new in added)]
    if "tokenizer.ggml.scores" in metadata:
        scores = metadata["tokenizer.ggml.scores"]
        metadata["tokenizer.ggml.scores"] = [*scores, *(-1000.0 - i for i in range(len(added)))]
    return metadata


def _ends(*texts: str, type_: int = TokenType.CONTROL, base: Callable = byte_level) -> Metadata:
    return with_tokens(base(), *((text, int(type_)) for text in texts))


def _without_letters(*letters: str) -> Metadata:
    metadata = changed(byte_level())
    tokens = metadata["tokenizer.ggml.tokens"]
    metadata["tokenizer.ggml.tokens"] = [
        f"<gone{letters.index(token)}>" if token in letters else token for token in tokens
    ]
    return metadata


def _named(metadata: Metadata, name: str) -> Metadata:
    return changed(metadata) | {"general.name": name}


def cases() -> Iterator[tuple[str, Metadata]]:
    """Name and metadata of each kind of file."""
    bpe, spm, gemma = byte_level(), sentence_piece(), characters()
    count = len(bpe["tokenizer.ggml.tokens"])
    merges = bpe["tokenizer.ggml.merges"]
    normal, user = TokenType.NORMAL, TokenType.USER_DEFINED
    yield "bpe", changed(bpe)
    yield "bpe without pre", changed(bpe, "pre")
    yield "bpe with empty pre", changed(bpe, pre="")
    yield "bpe of unknown pre", changed(bpe, pre="nobody-knows")
    yield "bpe without types", changed(bpe, "token_type")
    yield "bpe, types out of range", changed(bpe, token_type=[9, 0, -1, *[1] * (count - 3)])
    yield "bpe, too few types", changed(bpe, token_type=[1] * (count - 1))
    yield "bpe, more types than tokens", changed(bpe, token_type=[1] * (count + 5))
    yield "bpe, two empty tokens", with_tokens(bpe, ("", 1), ("", 3))
    yield "bpe, a token twice", with_tokens(bpe, ("h", 1))
    yield "bpe, empty token by its name", with_tokens(bpe, (f"[EMPTY_{count + 1}]", 1), ("", 1))
    yield "bpe without merges", changed(bpe, "merges")
    yield "bpe, no merge in the list of kimi-k2", changed(bpe, "merges", pre="kimi-k2")
    yield "merges, twice", changed(bpe, merges=["l l", *merges, "h e", "e l"])
    yield "merges, unknown part", changed(bpe, merges=["h hh", "zz z", *merges])
    yield "merges, no result", changed(bpe, merges=["e l", *merges, "o Ġ", "Ġ 1", "Ċ Ċ"])
    yield "merges, on the way to a token", changed(bpe, merges=["l o", "l lo", "he llo"])
    yield "merges, not two parts", changed(bpe, merges=["he", "", " ", "h e l", " h e", *merges])
    yield "merges, parts of other letters", changed(bpe, merges=["é a", "a é", *merges])
    yield "bpe, letters that are no tokens", _without_letters("Ġ", "1", "Ċ", "Ã", "Ā")
    yield "bpe, whole words", with_tokens(changed(bpe, pre="llama-bpe"), ("ab", 1), ("Ġ12345", 1))
    yield "bpe without bos", changed(bpe, "bos_token_id")
    yield "bpe without eos", changed(bpe, "eos_token_id")
    yield (
        "bpe without both, but adding bos",
        changed(bpe, "bos_token_id", "eos_token_id", add_bos_token=True),
    )
    yield (
        "bpe of few tokens without ids",
        changed(
            changed(bpe, "bos_token_id", "eos_token_id"),
            tokens=list("hel"),
            token_type=[1] * 3,
            merges=["h e"],
        ),
    )
    yield "glm4 without bos", changed(bpe, "bos_token_id", pre="glm4")
    yield (
        "glm4 without bos, but adding it",
        changed(bpe, "bos_token_id", pre="glm4", add_bos_token=True),
    )
    yield "separator needed", changed(bpe, pre="jina-v2-code")
    yield "separator not needed", changed(bpe, pre="jina-v2-code", add_sep_token=False)
    yield "separator there", changed(bpe, pre="roberta-bpe", seperator_token_id=3)
    yield "bpe adding both", changed(bpe, add_bos_token=True, add_eos_token=True)
    for key in ("bos", "eos", "padding", "unknown", "eot", "eom", "fim_pad", "prefix"):
        yield f"bpe, {key} out of range", changed(bpe, **{f"{key}_token_id": 4294967295})
    yield "bpe, ids beyond the vocabulary", changed(bpe, eos_token_id=count, eot_token_id=count)
    yield (
        "bpe, other roles",
        changed(
            bpe,
            eot_token_id=3,
            eom_token_id=4,
            fim_rep_token_id=5,
            suffix_token_id=6,
            mask_token_id=7,
        ),
    )
    yield (
        "name of Phi-3",
        _named(
            with_tokens(bpe, ("<unk>", 3), ("<s>", 3), ("</s>", 3), ("<|endoftext|>", 3)),
            "Phi-3 mini",
        ),
    )
    yield "name of ModernBERT", _named(with_tokens(bpe, ("[MASK]", 3)), "modern-bert-base")
    yield "pre of Jina", changed(with_tokens(bpe, ("<mask>", 3)), pre="jina-v2-de")
    yield (
        "whole tokens in one another",
        with_tokens(bpe, ("  ", 4), ("   ", 4), ("[x]", 4), ("x]", 3), ("hel", 4)),
    )
    for name, texts in (
        (
            "Qwen",
            ("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|fim_prefix|>"),
        ),
        (
            "harmony",
            ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>"),
        ),
        ("harmony without calls", ("<|end|>", "<|return|>")),
        ("Solar", ("<|end|>", "<|flush|>", "<|calls|>")),
        ("Solar without flush", ("<|end|>", "<|calls|>")),
        ("Gemma 4", ("<turn|>", "<|tool_response>", "</s>", "<eos>")),
        ("Llama 3", ("<|eot_id|>", "<|eom_id|>", "<|finetune_right_pad_id|>")),
        ("Kimi", ("[EOT]", "[EOS]", "[PAD]")),
        (
            "DeepSeek",
            ("<｜end▁of▁sentence｜>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        ),
        ("CodeLlama", ("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "_<EOT>", "<EOT>")),
        ("others", ("[e~[", "<end_of_utterance>", "<reponame>", "<fim-pad>", "[EOS]")),
    ):
        yield f"ends of {name}", _ends(*texts)
        yield f"ends of {name}, of type normal", _ends(*texts, type_=normal)
        yield f"ends of {name}, of type user-defined", _ends(*texts, type_=user)
        yield f"ends of {name}, SentencePiece", _ends(*texts, type_=normal, base=sentence_piece)
    yield (
        "turn end of type normal",
        changed(
            bpe,
            token_type=[
                1 if token == TURN_END else type_
                for token, type_ in zip(
                    bpe["tokenizer.ggml.tokens"], bpe["tokenizer.ggml.token_type"], strict=True
                )
            ],
        ),
    )
    yield "spm", changed(spm)
    yield (
        "spm, pre and other keys of no use",
        changed(
            spm,
            pre="nobody-knows",
            remove_extra_whitespaces=True,
            merges=["a b"],
            token_type_count=2,
        ),
    )
    yield "spm without ids", changed(spm, "bos_token_id", "eos_token_id")
    yield "spm without types", changed(spm, "token_type")
    yield (
        "spm, integer scores",
        changed(spm, scores=[-index for index in range(len(spm["tokenizer.ggml.scores"]))]),
    )
    yield "spm, too few scores", changed(spm, scores=[0.0])
    yield "spm without space prefix", changed(spm, add_space_prefix=False)
    yield "spm adding both", changed(spm, add_eos_token=True)
    yield "spm adding none", changed(spm, add_bos_token=False)
    yield "spm, padding out of range", changed(spm, padding_token_id=4294967295, unknown_token_id=9)
    yield "spm adding a separator", changed(spm, add_sep_token=True)
    yield "spm, two empty tokens", with_tokens(spm, ("", 1), ("", 5))
    yield "spm, a token twice", with_tokens(spm, ("a", 1))
    yield (
        "spm, name of Phi-3",
        _named(
            with_tokens(spm, ("<unk>", 2), ("<s>", 3), ("</s>", 3), ("<|endoftext|>", 3)), "phi3"
        ),
    )
    yield "gemma4", changed(gemma)
    yield "gemma4, not adding bos", changed(gemma, add_bos_token=False)
    yield "gemma4 without ids", changed(gemma, "bos_token_id", "eos_token_id")
    yield (
        "gemma4, merges of no result",
        changed(gemma, merges=["b c", "c \u0301", "é x", *gemma["tokenizer.ggml.merges"]]),
    )
    for pre in ("gemma4", "sarvam-moe", "whitespace"):
        yield f"gpt2 of pre {pre}", changed(gemma, model="gpt2", pre=pre)
    for model in ("bert", "t5", "rwkv", "plamo2", "hybriddna", "none", "no_vocab", "nobody-knows"):
        yield f"model {model}", changed(gemma, model=model)
