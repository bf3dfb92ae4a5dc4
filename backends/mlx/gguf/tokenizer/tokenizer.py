"""Text to token ids and back, from a GGUF file or from what `export` put into a `.pte`.

The work is done by the `tokenizers` library. What is added: the file's special tokens by their
roles, text that comes out token by token, and the chat template. Neither torch nor transformers
is imported.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tokenizers

from backends.mlx.common.errors import InputError
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.tokenizer import builder, chat

_BYTE_TOKEN = re.compile("<0x([0-9A-F]{2})>")
_SPECIALS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class TokenizerError(InputError):
    """A tokenizer that cannot be read. One line: what, expected, found."""


class Tokenizer:
    """Text to token ids and back, with the roles of the special tokens.

    Attributes:
        vocab_size: the number of ids.
        bos_id: the id of the token that starts a text, None if there is none.
        eos_ids: the ids after any of which a generated text is over.
        chat_template: Jinja source, None for a model that has no chat format.
    """

    def __init__(self, library: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
        """Wraps the library's tokenizer (byte-level or SentencePiece BPE).

        Args:
            config: the contents of a `tokenizer_config.json`.

        Raises:
            TokenizerError: the config names a token that the tokenizer lacks.
        """
        self._library = library
        self._config = dict(config)
        self._added = library.get_added_tokens_decoder()
        self._byte_fallback = library.model.byte_fallback
        # Ids beyond the vocabulary: texts that merges make, or need, and that are no tokens.
        self._lacking = {int(index): ids for index, ids in config.get("lacking_tokens", {}).items()}
        self._characters = _characters(library) if _lacks_bytes(library) else None
        self.vocab_size: int = library.get_vocab_size() - len(self._lacking)
        self.bos_id = self._id("bos_token")
        eos = self._id("eos_token")
        self.eos_ids = frozenset(config.get("eos_token_id", () if eos is None else (eos,)))
        self.chat_template: str | None = config.get("chat_template")

    @classmethod
    def from_gguf(cls, file: GGUFFile) -> Tokenizer:
        """The tokenizer that the file's metadata describes.

        Takes 0.2 s for 49152 tokens, 3 s for Gemma 3's 262144.

        Raises:
            GGUFError: a key of the metadata is missing or damaged; it says which and how.
        """
        return cls(*builder.build(file))

    @classmethod
    def from_bytes(cls, tokenizer_json: bytes, config_json: bytes) -> Tokenizer:
        """From the contents of a `tokenizer.json` and a `tokenizer_config.json`.

        Raises:
            TokenizerError: one of them is damaged, or holds another kind of tokenizer than BPE.
        """
        try:
            config = json.loads(bytes(config_json))
        except ValueError as error:
            raise TokenizerError(f"tokenizer_config.json: expected JSON, found {error}") from error
        if not isinstance(config, dict):
            raise TokenizerError(
                f"tokenizer_config.json: expected an object, found {type(config).__name__}"
            )
        try:
            library = tokenizers.Tokenizer.from_buffer(bytes(tokenizer_json))
        except ValueError as error:
            raise TokenizerError(
                " ".join(f"tokenizer.json: expected a tokenizer, found {error}".split())
            ) from error
        if not isinstance(library.model, tokenizers.models.BPE):
            raise TokenizerError(
                f"tokenizer.json: expected a BPE model, found {type(library.model).__name__}"
            )
        return cls(library, config)

    def to_bytes(self) -> tuple[bytes, bytes]:
        """The contents of `tokenizer.json` and `tokenizer_config.json`, for `from_bytes`."""
        config = json.dumps(self._config, ensure_ascii=False, indent=1)
        return self._library.to_str().encode(), config.encode()

    def encode(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """The ids of a text.

        Args:
            add_special: put BOS before it (and EOS after it), if the model is used to that.
            parse_special: the texts of control tokens ("<|im_end|>") become those tokens, as in
                llama.cpp's programs; otherwise they are text like any other. Whoever puts words
                of people he does not trust into a prompt wants False for these.
        """
        self._library.encode_special_tokens = not parse_special
        if self._characters is not None and not self._characters.issuperset(text):
            self._check_bytes(set(text) - self._characters)
        ids = self._library.encode(text, add_special_tokens=add_special).ids
        if self._lacking:
            return [index for found in ids for index in self._lacking.get(found, (found,))]
        return ids

    def encode_prompt(self, text: str, *, parse_special: bool = True) -> list[int]:
        """The ids of a text that the model is to continue: without the EOS that others end with."""
        ids = self.encode(text, parse_special=parse_special)
        return ids[:-1] if self._config.get("add_eos_token") else ids

    def encode_chat(self, messages: Sequence[chat.Message]) -> list[int]:
        """The ids of the chat template's text, in which the texts of control tokens are tokens.

        BOS is added as for any prompt, unless the template has written it itself.

        Raises:
            ChatTemplateError: the template is damaged or refuses the messages.
            TokenizerError: the model has no chat template.
        """
        if self.chat_template is None:
            raise TokenizerError("chat template: expected one in the model, found none")
        names = [f"{role}_token" for role in _SPECIALS]
        texts = {name: text for name in names if (text := self._text(name)) is not None}
        text = chat.render(self.chat_template, messages, texts)
        if "bos_token" in texts and text.startswith(texts["bos_token"]):
            return self.encode(text, add_special=False)
        return self.encode_prompt(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids of a whole text, without control tokens.

        Bytes that are not UTF-8 become U+FFFD. The space that encoding put first is left out.
        """
        return self._library.decode(list(ids))

    def token_bytes(self, index: int) -> bytes:
        """What one token adds to a text: UTF-8, or a part of it. Nothing for control tokens.

        Raises:
            TokenizerError: there is no such id.
        """
        added = self._added.get(index)
        if added is not None and added.special:
            return b""
        piece = self._library.id_to_token(index)
        if piece is None or index in self._lacking:
            raise TokenizerError(f"token id: expected one below {self.vocab_size}, found {index}")
        if self._byte_fallback:
            byte = _BYTE_TOKEN.fullmatch(piece)
            if byte is not None:
                return bytes.fromhex(byte[1])
            return piece.replace(builder.SPACE, " ").encode()
        if added is None and all(letter in _BYTE_OF_LETTER for letter in piece):
            return bytes(_BYTE_OF_LETTER[letter] for letter in piece)
        return piece.encode()

    def _check_bytes(self, characters: set[str]) -> None:
        """Refuses characters whose bytes the vocabulary lacks: the library would drop them."""
        for character in sorted(characters):
            for byte in character.encode():
                if self._library.token_to_id(f"<0x{byte:02X}>") is None:
                    raise TokenizerError(
                        f"text: expected characters that the vocabulary has, found {character!r}"
                    )

    def _text(self, name: str) -> str | None:
        """A special token's text: configs hold it as a string or as an AddedToken's fields."""
        token = self._config.get(name)
        return token.get("content") if isinstance(token, dict) else token

    def _id(self, name: str) -> int | None:
        text = self._text(name)
        if text is None:
            return None
        index = self._library.token_to_id(text)
        if index is None:
            raise TokenizerError(
                f"tokenizer_config.json: {name}: expected a token of tokenizer.json, found {text!r}"
            )
        return index


class TextStream:
    """Makes text of tokens as they come, never a part of a character.

    The library's `DecodeStream` is not used: it takes the first token for the first of a text,
    whose leading space goes, and it loses a character that the last token left unfinished.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, index: int) -> str:
        """The text that is complete with this token, possibly none."""
        return self._decoder.decode(self._tokenizer.token_bytes(index))

    def finish(self) -> str:
        """U+FFFD for a character that the last tokens left unfinished, otherwise nothing."""
        return self._decoder.decode(b"", final=True)


def _lacks_bytes(library: tokenizers.Tokenizer) -> bool:
    """Whether characters that are no tokens are to become bytes, and some bytes are none either."""
    return library.model.byte_fallback and any(
        library.token_to_id(f"<0x{byte:02X}>") is None for byte in range(256)
    )


def _characters(library: tokenizers.Tokenizer) -> frozenset[str]:
    """The characters that are tokens; a space is one, as it is spelled otherwise."""
    return frozenset({" ", *(token for token in library.get_vocab() if len(token) == 1)})


def _byte_letters() -> dict[str, int]:
    """GPT-2's spelling of bytes: printable Latin-1 as itself, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTE_OF_LETTER = _byte_letters()
