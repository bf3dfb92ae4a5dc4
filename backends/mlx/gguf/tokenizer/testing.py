"""Small vocabularies of both kinds, for the tests' GGUF files."""

from __future__ import annotations

from typing import Any

import numpy as np
from tokenizers import pre_tokenizers

from backends.mlx.gguf.tokenizer.vocabulary import TokenType

BOS, EOS, TURN_END, MARK = "<|begin|>", "<|end_of_text|>", "<|im_end|>", "<mark>"
_SPECIALS = {
    BOS: TokenType.CONTROL,
    EOS: TokenType.CONTROL,
    TURN_END: TokenType.CONTROL,
    MARK: TokenType.USER_DEFINED,
}
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ':' + message['content'] + '"
    + TURN_END
    + "' }}{% endfor %}{{ 'assistant:' }}"
)


def byte_level(size: int = 320) -> dict[str, Any]:
    """Metadata of a "gpt2" tokenizer: bytes, a few merges, special tokens, unused up to `size`."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "1 2", "12 3", "' s", "à ¤"]
    tokens = [*letters, *(merge.replace(" ", "") for merge in merges)]
    types = [TokenType.NORMAL] * len(tokens)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.merges": merges,
        **_whole(tokens, types, size),
    }


def sentence_piece(size: int = 320) -> dict[str, Any]:
    """Metadata of a "llama" tokenizer: bytes, letters and words with scores, special tokens."""
    words = ["▁", *"abcehlo", "▁a", "he", "ll", "hell", "hello", "▁hello", "aa", "aaa"]
    tokens = [f"<0x{byte:02X}>" for byte in range(256)] + words
    types = [TokenType.BYTE] * 256 + [TokenType.NORMAL] * len(words)
    metadata = _whole(tokens, types, size)
    scores = -np.arange(len(metadata["tokenizer.ggml.tokens"]), dtype=np.float32)
    return {"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": scores.tolist(), **metadata}


def _whole(tokens: list[str], types: list[TokenType], size: int) -> dict[str, Any]:
    first = len(tokens)
    tokens, types = [*tokens, *_SPECIALS], [*types, *_SPECIALS.values()]
    filled = len(tokens)
    if size < filled:
        raise ValueError(f"size: expected at least {filled}, found {size}")
    tokens += [f"<unused{index}>" for index in range(size - filled)]
    types += [TokenType.UNUSED] * (size - filled)
    return {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": list(map(int, types)),
        "tokenizer.ggml.bos_token_id": first,
        "tokenizer.ggml.eos_token_id": first + 1,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }
