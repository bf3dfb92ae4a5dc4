"""From a GGUF file to the ExecuTorch program of its model, with all that running it needs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig

from backends.mlx.gguf.card import (
    CARD,
    DEFAULT_MAX_SEQ_LEN,
    DEFAULT_PREFILL_CHUNK,
    TOKENIZER,
    TOKENIZER_CONFIG,
    VERSION,
    ModelCard,
)
from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.lowering import Mode, export_module, use_mode
from backends.mlx.gguf.model import architecture, decoder, keys, network
from backends.mlx.gguf.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Options:
    """How to export a model.

    Attributes:
        dtype: of the activations: bfloat16, float16 or float32.
        max_seq_len: the length of the KV cache in tokens; None: the model's own, at most
            DEFAULT_MAX_SEQ_LEN.
        prefill_chunk: the most tokens in one call. A shorter cache or sliding window lowers it.
        mode: "fused" or "repack"; None: see `lowering.use_mode`.
        all_logits: return the logits of every token of a call, not of the last one only.
        allow_dense: decode tensors of types that have no kernel, instead of refusing them.
        ignore_keys: keys of metadata to pass by, as if the file had none of them.
    """

    dtype: str = "bfloat16"
    max_seq_len: int | None = None
    prefill_chunk: int = DEFAULT_PREFILL_CHUNK
    mode: Mode | str | None = None
    all_logits: bool = False
    allow_dense: bool = False
    ignore_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """The `.pte` at `path`, and its model card."""

    path: Path
    card: ModelCard


def export(
    file: GGUFFile,
    path: Path,
    options: Options,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Exported:
    """Writes the program of `file` to `path`; after an error there is no new file.

    The method `forward` is that of `Decoder`. Constant methods carry the facts that ExecuTorch's
    own runners ask for; named data carries the tokenizer and the model card (`card.py`).

    Args:
        on_stage: called with the name of each stage of the work as it begins.

    Raises:
        GGUFError: the file is not a model that can be exported, or the cache is longer than the
            model's context.
        TokenizerError: no tokenizer can be made of the file.
        LoweringError: MLX did not take a weight.
        InputError: the mode is none, or a repacked weight is beyond what `dtype` can hold.
        OSError: `path` cannot be written.
    """
    file.ignore(options.ignore_keys)
    config = architecture.config_of(file)
    tokenizer = Tokenizer.from_gguf(file)
    data = tokenizer.to_bytes()
    with use_mode(options.mode) as settings:
        card = _card(file, config, options, settings.mode)
        on_stage("building the network")
        model = network.build(
            file,
            getattr(torch, options.dtype),
            attention=decoder.ATTENTION,
            allow_dense=options.allow_dense,
            cache_length=card.max_seq_len,
        )
        # Of what the file says, all has been read now.
        keys.check(file)
        card = dataclasses.replace(card, warnings=tuple(file.warnings))
        module = decoder.Decoder(
            model, card.max_seq_len, card.prefill_chunk, all_logits=options.all_logits
        )
        length = torch.export.Dim("length", min=1, max=card.prefill_chunk)
        example = min(3, card.prefill_chunk)
        export_module(
            module,
            (torch.zeros(1, example, dtype=torch.int64), torch.arange(example)),
            path,
            dynamic_shapes=({1: length}, {0: length}) if card.prefill_chunk > 1 else None,
            constant_methods=_facts(card, config, tokenizer),
            named_data={
                TOKENIZER: data[0],
                TOKENIZER_CONFIG: data[1],
                CARD: json.dumps(asdict(card)).encode(),
            },
            on_stage=on_stage,
        )
    return Exported(path, card)


def _card(file: GGUFFile, config: PretrainedConfig, options: Options, mode: Mode) -> ModelCard:
    limit = config.max_position_embeddings
    max_seq_len = options.max_seq_len
    if max_seq_len is None:
        max_seq_len = min(limit, DEFAULT_MAX_SEQ_LEN)
    elif max_seq_len > limit:
        raise GGUFError(
            file.path,
            "the length of the cache",
            f"at most the model's context, {limit}",
            str(max_seq_len),
        )
    window = getattr(config, "sliding_window", None) or max_seq_len
    return ModelCard(
        version=VERSION,
        lowering=mode.value,
        architecture=architecture.architecture_name(file),
        name=str(file.metadata.get("general.name", file.path.stem)),
        dtype=options.dtype,
        max_seq_len=max_seq_len,
        prefill_chunk=min(options.prefill_chunk, max_seq_len, window),
        vocab_size=config.vocab_size,
        ignored_keys=options.ignore_keys,
        warnings=(),
    )


def _facts(
    card: ModelCard, config: PretrainedConfig, tokenizer: Tokenizer
) -> dict[str, int | bool | list[int]]:
    """By the names that ExecuTorch's text runner looks for."""
    facts = {
        "get_max_seq_len": card.prefill_chunk,
        "get_max_context_len": card.max_seq_len,
        "get_vocab_size": card.vocab_size,
        "get_n_layers": config.num_hidden_layers,
        "use_kv_cache": True,
        "enable_dynamic_shape": card.prefill_chunk > 1,
        "get_eos_ids": sorted(tokenizer.eos_ids),
    }
    if tokenizer.bos_id is not None:
        facts["get_bos_id"] = tokenizer.bos_id
    return facts
