"""Small vocabularies as the metadata of a GGUF file: byte-level BPE and SentencePiece."""

from __future__ import annotations

from typing import Any

SIZE = 320
_NORMAL, _UNKNOWN, _CONTROL, _UNUSED, _BYTE = 1, 2, 3, 5, 6
_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def bpe(specials: tuple[tuple[str, int], ...] = ()) -> dict[str, Any]:
    """GPT-2's kind: the 256 bytes, three control tokens or `specials` (text, type), and "he"."""
    tokens = _letters()
    types = [_NORMAL] * len(tokens)
    for text, kind in specials or [(text, _CONTROL) for text in _SPECIALS]:
        tokens.append(text)
        types.append(kind)
    while len(tokens) < SIZE - 1:
        tokens.append(f"[unused{len(tokens)}]")
        types.append(_UNUSED)
    return _keys(
        model="gpt2",
        pre="gpt-2",
        tokens=[*tokens, "he"],
        token_type=[*types, _NORMAL],
        merges=["h e"],
        bos_token_id=256,
        eos_token_id=256,
    )


def sentence_piece() -> dict[str, Any]:
    """Three special tokens, the 256 bytes and a few pieces."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [_UNKNOWN, _CONTROL, _CONTROL] + [_BYTE] * 256
    for piece in ("\u2581", "h", "e", "l", "o", "he"):
        tokens.append(piece)
        types.append(_NORMAL)
    while len(tokens) < SIZE - 1:
        tokens.append(f"<unused{len(tokens)}>")
        types.append(_UNUSED)
    return _keys(
        model="llama",
        pre="default",
        tokens=[*tokens, "ll"],
        token_type=[*types, _NORMAL],
        scores=[-float(index) for index in range(SIZE)],
        unknown_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def _keys(**values: Any) -> dict[str, Any]:
    return {f"tokenizer.ggml.{name}": value for name, value in values.items()}


def _letters() -> list[str]:
    """GPT-2's spelling of the 256 bytes, the printable ones as themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return [
        chr(byte) if byte in printable else chr(0x100 + others.index(byte)) for byte in range(256)
    ]
