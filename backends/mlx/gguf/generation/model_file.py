"""Opens a `.pte` that `export` made: what it says of itself, its tokenizer, its method.

Beside the program, `export` puts three pieces of named data into the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.mlx.gguf.card import (
    CARD,
    TOKENIZER,
    TOKENIZER_CONFIG,
    ModelCard,
    ModelFileError,
    damaged,
)
from backends.mlx.gguf.generation.session import Session
from backends.mlx.gguf.tokenizer.tokenizer import Tokenizer, TokenizerError
from backends.mlx.program import Program
from backends.mlx.runner import Runner


class ModelFile:
    """An exported model.

    Attributes:
        path: the file.
        card: what the file says of itself.
        tokenizer: its tokenizer.
    """

    def __init__(self, path: Path) -> None:
        """Maps the file and reads everything but the weights.

        Raises:
            ProgramError: the file cannot be read, or is no sound `.pte`.
            ModelFileError: `export` did not make it, or its named data is damaged.
        """
        self.path = path
        self._program = Program(path)
        data: Mapping[str, Any] = self._program.named_data()
        for name in (CARD, TOKENIZER, TOKENIZER_CONFIG):
            if name not in data:
                raise damaged(
                    path, f"named data {name!r}", "it in a model that export made", "none"
                )
        self.card = ModelCard.parse(path, bytes(data[CARD]))
        try:
            self.tokenizer = Tokenizer.from_bytes(
                bytes(data[TOKENIZER]), bytes(data[TOKENIZER_CONFIG])
            )
        except TokenizerError as error:
            raise ModelFileError(f"{path}: {error}") from error
        if self.tokenizer.vocab_size != self.card.vocab_size:
            raise damaged(
                path,
                TOKENIZER,
                f"{self.card.vocab_size} tokens, as {CARD} says",
                str(self.tokenizer.vocab_size),
            )

    def session(self) -> Session:
        """Loads the method: a new session with an empty cache of its own.

        Without a GPU it also compiles the method's kernels that no run has compiled before, which
        can take minutes; the logger of `backends.mlx.metal` tells of each.

        Raises:
            ProgramError: the method holds what cannot be run.
            CompileError: a kernel cannot be compiled.
        """
        runner = Runner(self._program)
        runner.prepare()
        return Session(
            runner, max_seq_len=self.card.max_seq_len, prefill_chunk=self.card.prefill_chunk
        )
