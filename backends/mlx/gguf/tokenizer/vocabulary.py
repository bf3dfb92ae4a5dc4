"""The vocabulary in a GGUF file's metadata, checked: what both kinds of tokenizer are built from.

The keys are those of ggml's `docs/gguf.md`, section "Tokenizer".
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
        model: "gpt2" (byte-level BPE) or "llama" (SentencePiece).
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
            GGUFError: a key is missing or of another kind, lengths differ, a token occurs twice,
                or the embedding has another number of rows than there are tokens.
        """
        tokens = file.require(f"{PREFIX}tokens", tuple)
        types = per_token(file, "token_type", len(tokens), "iu")
        lowest, highest = min(TokenType), max(TokenType)
        wrong = np.flatnonzero((types < lowest) | (types > highest))
        if wrong.size:
            raise error(
                file,
                "token_type",
                f"types of {lowest} to {highest}",
                f"{types[wrong[0]]} for token {wrong[0]}",
            )
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
        return cls(file, file.require(f"{PREFIX}model", str), tokens, types, ids)

    def of_type(self, *types: TokenType) -> list[int]:
        """The ids of all tokens of these types, ascending."""
        return np.flatnonzero(np.isin(self.types, types)).tolist()

    def special_id(self, name: str) -> int | None:
        """The id that `tokenizer.ggml.NAME_token_id` gives, None if the file has no such key.

        Raises:
            GGUFError: it is no token's id.
        """
        found = self.file.optional(f"{PREFIX}{name}_token_id", int)
        if found is not None and not 0 <= found < len(self.tokens):
            raise error(
                self.file, f"{name}_token_id", f"an id below {len(self.tokens)}", str(found)
            )
        return found


def per_token(file: GGUFFile, key: str, count: int, kinds: str) -> np.ndarray:
    """The array of numbers of `tokenizer.ggml.KEY`, one for each of `count` tokens.

    Args:
        kinds: numpy's letters of the kinds of number that are allowed, "iu" or "f".

    Raises:
        GGUFError: there is no such array, or of other numbers or another length.
    """
    values = file.require(f"{PREFIX}{key}", np.ndarray)
    if values.dtype.kind not in kinds:
        expected = "floats" if kinds == "f" else "integers"
        raise error(file, key, f"an array of {expected}", f"one of {values.dtype.name}")
    if len(values) != count:
        raise error(file, key, f"{count} values, one for each token", str(len(values)))
    return values


def error(file: GGUFFile, key: str, expected: str, found: str) -> GGUFError:
    """The error that names `tokenizer.ggml.KEY` of the file."""
    return GGUFError(file.path, f"metadata '{PREFIX}{key}'", expected, found)
