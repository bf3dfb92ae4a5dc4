"""The numbers of a network as a GGUF file's metadata has them, checked as they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile


class Hyperparameters:
    """The metadata of a file under its architecture's prefix.

    Attributes:
        file: whose they are.
        architecture: the file's `general.architecture`.
    """

    def __init__(self, file: GGUFFile):
        self.file = file
        self.architecture = architecture_name(file)

    def require(self, name: str, kind: type) -> Any:
        """The value of `<architecture>.<name>`, of `kind`, as `GGUFFile.require` takes it.

        Raises:
            GGUFError: there is none, or it is of another kind.
        """
        return self.file.require(self.key(name), kind)

    def optional(self, name: str, kind: type, default: Any) -> Any:
        """The same, `default` if the file has no such key."""
        return self.file.optional(self.key(name), kind, default)

    def count(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """An int of at least `least`, `default` if that is given and the file has no such key.

        Raises:
            GGUFError: it is missing, no integer or too small.
        """
        value = self.require(name, int) if default is None else self.optional(name, int, default)
        return self._at_least(name, value, least)

    def layers_count(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """The same, where a file may have an array with a number for each layer, all equal.

        Raises:
            GGUFError: also for an array of another length than there are layers, or one whose
                layers differ.
        """
        values = self.file.metadata.get(self.key(name))
        if not isinstance(values, np.ndarray):
            return self.count(name, default, least=least)
        self.require(name, np.ndarray)
        layers = self.count("block_count")
        if values.dtype.kind not in "iu" or len(values) != layers:
            found = f"{len(values)} of {values.dtype.name}"
            raise self.error(name, f"an integer, or one for each of {layers} layers", found)
        if (values != values[0]).any():
            raise self.error(name, "the same number for every layer", str(values.tolist()))
        return self._at_least(name, int(values[0]), least)

    def number(self, name: str, default: float) -> float:
        """A finite number, `default` if the file has no such key.

        Raises:
            GGUFError: it is none, or infinite.
        """
        value = self.optional(name, float, default)
        if not np.isfinite(value):
            raise self.error(name, "a finite number", value)
        return value

    def key(self, name: str) -> str:
        """The whole key, with the architecture before `name`."""
        return f"{self.architecture}.{name}"

    def error(self, name: str, expected: str, found: Any) -> GGUFError:
        """What to raise for a value that this project cannot do, naming what lets it pass."""
        key = self.key(name)
        return GGUFError(
            self.file.path, key, expected, f"{found} (--ignore-key {key} passes it by)"
        )

    def has(self, tensor: str) -> bool:
        """Whether the file holds a tensor of that name."""
        return tensor in self.file.tensors

    def _at_least(self, name: str, value: int, least: int) -> int:
        if value < least:
            expected = "a positive number" if least == 1 else f"at least {least}"
            raise self.error(name, expected, value)
        return value


def architecture_name(file: GGUFFile) -> str:
    """The file's `general.architecture`.

    Raises:
        GGUFError: it is absent or not a string.
    """
    return file.require("general.architecture", str)


def common(values: Hyperparameters) -> dict[str, Any]:
    """What all decoders have: the arguments of a `transformers` config.

    Raises:
        GGUFError: metadata or the embedding is missing or wrong, or the model is no decoder.
    """
    hidden = values.count("embedding_length")
    heads = values.layers_count("attention.head_count")
    head_dim = values.count("attention.key_length", hidden // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        size = values.count(key, head_dim)
        if size != head_dim:
            raise values.error(key, f"the size of a head, {head_dim}", size)
    if not values.optional("attention.causal", bool, True):
        raise values.error("attention.causal", "a model in which tokens see no later ones", False)
    if values.count("pooling_type", 0, least=-1) > 0:
        values.file.warn(
            values.key("pooling_type"),
            "a model that gives embeddings; this exports its logits, without the pooling",
        )
    embedding = values.file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        found = "no such tensor" if embedding is None else f"shape {list(embedding.shape)}"
        raise GGUFError(values.file.path, "tensor token_embd.weight", "a matrix", found)
    return dict(
        vocab_size=embedding.shape[0],
        hidden_size=hidden,
        num_hidden_layers=values.count("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=values.layers_count("attention.head_count_kv", heads),
        head_dim=head_dim,
        rms_norm_eps=values.require("attention.layer_norm_rms_epsilon", float),
        max_position_embeddings=values.count("context_length"),
        tie_word_embeddings=not values.has("output.weight"),
    )
