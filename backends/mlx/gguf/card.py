"""What a `.pte` says about itself: the names of its data, and the model card."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from backends.mlx.common.errors import InputError

# Of this project; programs name the one that made them.
VERSION = "0.1.0"

# What `export` takes where it is told nothing.
DEFAULT_MAX_SEQ_LEN = 2048
DEFAULT_PREFILL_CHUNK = 128

TOKENIZER = "mlx_gguf/tokenizer.json"
TOKENIZER_CONFIG = "mlx_gguf/tokenizer_config.json"
CARD = "mlx_gguf/model.json"


class ModelFileError(InputError):
    """A `.pte` that `export` did not make, or that is damaged. One line, naming the file."""


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What `mlx_gguf/model.json` says.

    Attributes:
        version: of the project, when it wrote the file.
        lowering: the mode, "fused" or "repack".
        architecture: as in the GGUF file, e.g. "llama".
        name: the model's.
        dtype: of activations: "bfloat16", "float16" or "float32".
        max_seq_len: how many tokens the cache holds.
        prefill_chunk: the most tokens that one call takes.
        vocab_size: how many logits there are.
        ignored_keys: keys of the GGUF file that were passed by on request.
        warnings: what was odd about that file.
    """

    version: str
    lowering: str
    architecture: str
    name: str
    dtype: str
    max_seq_len: int
    prefill_chunk: int
    vocab_size: int
    ignored_keys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, path: Path, data: bytes) -> ModelCard:
        """Reads the JSON; keys that are not known are for later versions.

        Raises:
            ModelFileError: it is damaged, or a key is missing or of another type.
        """
        try:
            values = json.loads(data)
        except ValueError as error:
            raise damaged(path, CARD, "JSON", str(error)) from error
        if not isinstance(values, dict):
            raise damaged(path, CARD, "an object", type(values).__name__)
        known: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            value: Any = values.get(field.name)
            if field.default is not dataclasses.MISSING:
                known[field.name] = _texts(path, field.name, values.get(field.name, []))
                continue
            kind = {"str": str, "int": int}[str(field.type)]
            if type(value) is not kind or isinstance(value, int) and value < 1:
                expected = "a string" if kind is str else "a number of at least 1"
                found = repr(value) if field.name in values else "no such key"
                raise damaged(path, f"{CARD}: {field.name}", expected, found)
            known[field.name] = value
        return cls(**known)


def _texts(path: Path, name: str, value: Any) -> tuple[str, ...]:
    """A list of strings, which programs of earlier versions have not."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise damaged(path, f"{CARD}: {name}", "a list of strings", repr(value))
    return tuple(value)


def damaged(path: Path, subject: str, expected: str, found: str) -> ModelFileError:
    """What to raise for a `.pte` whose named data is not as it should be."""
    return ModelFileError(f"{path}: {subject}: expected {expected}, found {found}")
