"""The vocabulary in a GGUF file's metadata, checked: what every kind of tokenizer is built from.

The keys are those of ggml's `docs/gguf.md`, section "Tokenizer"; what is taken for granted where a
key is absent or odd is what llama.cpp takes (`src/llama-vocab.cpp`).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

import numpy as np

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.checkpoint.tensor import quoted

PREFIX = "tokenizer.ggml."
EMBEDDING = "token_embd.weight"


class TokenType(enum.IntEnum):
    """What `tokenizer.ggml.token_type` says of a token."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The tokens of a file.

    Attributes:
        file: where they come from, for messages and for the keys that only one kind has.
        model: "gpt2" (byte-level BPE), "llama" (SentencePiece) or "gemma4" (BPE of characters).
        tokens: the text of each token, by id.
        types: int32 (tokens,), values of TokenType.
        ids: text -> id.
    """

    file: GGUFFile
    model: str
    tokens: tuple[str, ...]
    types: np.ndarray
    ids: Mapping[str, int]

    @classmethod
    def read(cls, file: GGUFFile) -> Vocabulary:
        """Reads and checks the keys that every tokenizer has.

        Raises:
            GGUFError: a key is missing or of another kind, there are fewer types than tokens, a
                token occurs twice, or the embedding has another number of rows.
        """
        tokens = _named(file, file.require(f"{PREFIX}tokens", tuple))
        ids = {token: index for index, token in enumerate(tokens)}
        if len(ids) != len(tokens):
            index = next(index for index, token in enumerate(tokens) if ids[token] != index)
            raise error(
                file,
                "tokens",
                "each token once",
                f"{quoted(tokens[index])} as {index} and {ids[tokens[index]]}",
            )
        embedding = file.tensors.get(EMBEDDING)
        if embedding is not None and embedding.rows != len(tokens):
            raise error(
                file, "tokens", f"{embedding.rows}, as {EMBEDDING} has rows", str(len(tokens))
            )
        types = _types(file, len(tokens))
        return cls(file, file.require(f"{PREFIX}model", str), tokens, types, ids)

    def of_type(self, *types: TokenType) -> list[int]:
        """The ids of all tokens of these types, ascending."""
        return np.flatnonzero(np.isin(self.types, types)).tolist()


def per_token(file: GGUFFile, key: str, count: int) -> np.ndarray:
    """The numbers of `tokenizer.ggml.KEY`, one for each of `count` tokens, as float64.

    Raises:
        GGUFError: there is no such array, or of anything but numbers, or a shorter one.
    """
    values = file.require(f"{PREFIX}{key}", np.ndarray)
    if values.dtype.kind not in "iuf":
        raise error(file, key, "an array of numbers", f"one of {values.dtype.name}")
    if len(values) < count:
        raise error(file, key, f"{count} values, one for each token", str(len(values)))
    return values[:count].astype(np.float64)


def error(file: GGUFFile, key: str, expected: str, found: str) -> GGUFError:
    """The error that names `tokenizer.ggml.KEY` of the file."""
    return GGUFError(file.path, f"metadata '{PREFIX}{key}'", expected, found)


def _named(file: GGUFFile, tokens: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens, those without text by the names that llama.cpp gives them."""
    empty = [index for index, token in enumerate(tokens) if not token]
    if not empty:
        return tokens
    file.warn(f"{PREFIX}tokens", f"{len(empty)} without text, the first of them {empty[0]}")
    return tuple(token or f"[EMPTY_{index}]" for index, token in enumerate(tokens))


def _types(file: GGUFFile, count: int) -> np.ndarray:
    if f"{PREFIX}token_type" not in file.metadata:
        file.optional(f"{PREFIX}token_type", np.ndarray)
        return np.full(count, TokenType.NORMAL, np.int32)
    types = per_token(file, "token_type", count)
    known = np.isin(types, list(TokenType))
    if not known.all():
        index = int(np.flatnonzero(~known)[0])
        file.warn(
            f"{PREFIX}token_type",
            f"{types[index]:g} of token {index} and {int((~known).sum()) - 1} more are no types of"
            " tokens: taken as undefined",
        )
    return np.where(known, types, TokenType.UNDEFINED).astype(np.int32)
