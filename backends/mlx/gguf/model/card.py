"""What a `.pte` says about itself: the names of its data, and the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

TOKENIZER = "mlx_gguf/tokenizer.json"
TOKENIZER_CONFIG = "mlx_gguf/tokenizer_config.json"
CARD = "mlx_gguf/model.json"


class CardError(ValueError):
    """A `.pte` without a sound model card. One line: file, what, expected, found."""


@dataclass(frozen=True)
class ModelCard:
    """How a program was made and how to call it.

    Attributes:
        version: of this project.
        lowering: "fused" or "repack".
        architecture: `general.architecture` of the GGUF file.
        name: the model's.
        dtype: of the activations.
        max_seq_len: positions in the KV cache.
        prefill_chunk: the most tokens in one call.
        vocab_size: the number of logits.
        all_logits: whether a call returns the logits of every token, or of the last one.
    """

    version: str
    lowering: str
    architecture: str
    name: str
    dtype: str
    max_seq_len: int
    prefill_chunk: int
    vocab_size: int
    all_logits: bool

    @staticmethod
    def of(path: Path, named_data: Mapping[str, memoryview]) -> ModelCard:
        """Reads the card of the `.pte` at `path`. Raises CardError."""
        if CARD not in named_data:
            raise CardError(f"{path}: expected a program made by export, with named data {CARD}, "
                            "found none of that name")
        try:
            values = json.loads(bytes(named_data[CARD]))
            return ModelCard(**{field.name: values[field.name] for field in fields(ModelCard)})
        except (ValueError, KeyError, TypeError) as error:
            raise CardError(f"{path}: {CARD}: expected a model card, found {error!r}") from error
