"""The keys of a file that no reader asks for: known to be without effect, or a reason to refuse.

A key of metadata that changes a network and is passed over gives another model than its author's.
So every key under the architecture's prefix and under `tokenizer.` is read by somebody
(`GGUFFile.keys_read`), or stands here, or is refused by name. What is here was tried with
llama.cpp: its logits are the same whatever the key says (`tests/field`), or, of a key with values
here, these are the ones that change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.checkpoint.tensor import quoted
from backends.mlx.gguf.model.hyperparameters import architecture_name


@dataclass(frozen=True)
class Passive:
    """Why a key may be there without being read.

    Attributes:
        reason: in half a sentence.
        values: those that say nothing; none: any value.
        architectures: for which it holds; none: for all that do not read the key.
    """

    reason: str
    values: tuple[Any, ...] = ()
    architectures: tuple[str, ...] = ()

    def covers(self, architecture: str, value: Any) -> bool:
        """Whether `value` of the key is without effect in a model of `architecture`."""
        if self.architectures and architecture not in self.architectures:
            return False
        if not self.values:
            return True
        items = value.tolist() if isinstance(value, np.ndarray) else [value]
        return all(item in self.values for item in items)


_NOTE = "a note; nothing computes with it"
_ROOT_MEAN_SQUARE = "of a layer norm; these networks have root mean square norms"
_FACTOR = "a factor, which these networks do not have"
_CAP = "a bound, which these networks do not have; 0 is none"
_MIXTURE = "of mixtures of experts of other kinds"
_YARN = "of YaRN in other networks; here the value is fixed"
_LAYERS = "how many layers there are of a kind that these networks do not have"

NETWORK: Mapping[str, Passive] = {
    "vocab_size": Passive("the rows of the embedding are counted"),
    "tensor_data_layout": Passive(_NOTE),
    "rope.scaling.finetuned": Passive(_NOTE),
    "classifier.output_labels": Passive("names for outputs that a text model has not"),
    "attention.layer_norm_epsilon": Passive(_ROOT_MEAN_SQUARE),
    "attention.group_norm_epsilon": Passive(_ROOT_MEAN_SQUARE),
    "attention.group_norm_groups": Passive(_ROOT_MEAN_SQUARE),
    "expert_feed_forward_length": Passive(
        "experts of this kind are as wide as feed_forward_length says", architectures=("llama",)
    ),
    "logit_scale": Passive(_FACTOR, (0.0, 1.0)),
    "residual_scale": Passive(_FACTOR, (0.0, 1.0)),
    "embedding_scale": Passive(_FACTOR, (0.0, 1.0)),
    "attention.scale": Passive(_FACTOR, (0.0,)),
    "attention.output_scale": Passive(_FACTOR, (0.0, 1.0)),
    "attention.value_scale": Passive(_FACTOR, (0.0, 1.0)),
    "attention.temperature_scale": Passive(_FACTOR, (0.0,)),
    "attention.clamp_kqv": Passive(_CAP, (0.0,)),
    "attention.max_alibi_bias": Passive(_CAP, (0.0,)),
    "attn_logit_softcapping": Passive(_CAP, (0.0,)),
    "router_logit_softcapping": Passive(_CAP, (0.0,)),
    "final_logit_softcapping": Passive(_CAP, (0.0,)),
    "attention.sliding_window": Passive("these networks see all positions; 0 is none", (0,)),
    "attention.shared_kv_layers": Passive(_LAYERS, (0,)),
    "leading_dense_block_count": Passive(_LAYERS, (0,)),
    "nextn_predict_layers": Passive(_LAYERS, (0,)),
    "n_deepstack_layers": Passive(_LAYERS, (0,)),
    "hash_layer_count": Passive(_LAYERS, (0,)),
    "moe_every_n_layers": Passive(_LAYERS, (0, 1)),
    "interleave_moe_layer_step": Passive(_LAYERS, (0, 1)),
    "expert_count": Passive("the network has no experts", (0,)),
    "expert_used_count": Passive("the network has no experts", (0,)),
    "expert_shared_count": Passive(_MIXTURE, (0,)),
    "expert_shared_feed_forward_length": Passive(_MIXTURE, (0,)),
    "expert_group_count": Passive(_MIXTURE, (0, 1)),
    "expert_group_used_count": Passive(_MIXTURE, (0, 1)),
    "expert_weights_scale": Passive("the shares of experts add up to 1 here", (0.0, 1.0)),
    "expert_weights_norm": Passive("the shares of experts add up to 1 here", (True,)),
    "expert_gating_func": Passive("shares are a softmax here, which is 1", (0, 1)),
    "use_parallel_residual": Passive("of another order of a layer's parts", (False,)),
    "swin_norm": Passive("of another order of a layer's parts", (False,)),
    "rope.scaling.alpha": Passive("of another kind of stretching", (0.0, 1.0)),
    "rope.scaling.yarn_log_multiplier": Passive(_YARN, (0.0,)),
    "rope.scaling.yarn_ext_factor": Passive(_YARN, (-1.0, 1.0)),
    "rope.scaling.yarn_attn_factor": Passive(_YARN, (-1.0, 1.0)),
    "rope.scaling.yarn_beta_fast": Passive(_YARN, (-1.0, 32.0)),
    "rope.scaling.yarn_beta_slow": Passive(_YARN, (-1.0, 1.0)),
}

_OTHER_TOKENIZERS = "of tokenizers of other kinds"

TOKENIZER: Mapping[str, Passive] = {
    # Byte-level BPE has its expressions by this name; where it is not read, words are not split.
    "ggml.pre": Passive("of byte-level tokenizers"),
    "ggml.merges": Passive("of BPE; SentencePiece goes by scores"),
    "ggml.scores": Passive("of SentencePiece; BPE goes by merges"),
    "ggml.add_space_prefix": Passive("of SentencePiece"),
    "ggml.add_sep_token": Passive(_OTHER_TOKENIZERS),
    "ggml.remove_extra_whitespaces": Passive(_OTHER_TOKENIZERS),
    "ggml.precompiled_charsmap": Passive(_OTHER_TOKENIZERS),
    "ggml.token_type_count": Passive(_OTHER_TOKENIZERS),
    "ggml.normalizer.lowercase": Passive(_OTHER_TOKENIZERS),
    "ggml.normalizer.strip_accents": Passive(_OTHER_TOKENIZERS),
    "huggingface.json": Passive("the tokenizer once more, in another form"),
    "rwkv.world": Passive("the tokenizer once more, in another form"),
}


def check(file: GGUFFile) -> None:
    """Looks at what is left when all readers are done.

    Raises:
        GGUFError: a key of the network's or the tokenizer's that nobody read, and that may have
            an effect; it names what lets it pass.
    """
    architecture = architecture_name(file)
    for prefix, table in ((f"{architecture}.", NETWORK), ("tokenizer.", TOKENIZER)):
        for key, value in file.metadata.items():
            if not key.startswith(prefix) or key in file.keys_read:
                continue
            passive = table.get(key.removeprefix(prefix))
            if passive is not None and passive.covers(architecture, value):
                continue
            expected = "a key that this project reads"
            if passive is not None and passive.values:
                expected = " or ".join(map(str, passive.values)) + f" ({passive.reason})"
            found = quoted(value) if isinstance(value, str) else _short(value)
            raise GGUFError(
                file.path,
                f"metadata {quoted(key)}",
                expected,
                f"{found} (--ignore-key {key} passes it by)",
            )


def _short(value: Any) -> str:
    if isinstance(value, (np.ndarray, tuple)):
        return f"an array of {len(value)}"
    return str(value)
