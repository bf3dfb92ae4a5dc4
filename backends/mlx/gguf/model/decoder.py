"""The network as it is exported: with its KV caches, as one function of tokens and position."""

from __future__ import annotations

import torch
from executorch.backends.mlx import custom_ops as _mlx_ops  # noqa: F401  (registers mlx::*)
from executorch.backends.mlx.llm.cache import KVCache, RingBufferKVCache
from torch import nn
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from backends.mlx.gguf.model import rotary

ATTENTION = "mlx_gguf"


class Decoder(nn.Module):
    """A causal language model with a KV cache of fixed length.

    forward(tokens, cache_position): `tokens` int64 (1, S) stand at the positions
    `cache_position`, int64 (S,), which count up by one and end below `max_seq_len`; S is from 1
    to `prefill_chunk`. Returns float32 logits, (1, 1, vocabulary) for the last token or, with
    `all_logits`, (1, S, vocabulary).

    Layers with a sliding window shorter than the cache keep a ring buffer of the window; all
    others keep all positions.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        max_seq_len: int,
        prefill_chunk: int,
        *,
        all_logits: bool = False,
    ):
        """Takes over `network`, which was built with the attention named `ATTENTION`."""
        super().__init__()
        self.network = network
        self.max_seq_len = max_seq_len
        self.prefill_chunk = prefill_chunk
        self.all_logits = all_logits
        self.ring: RingBufferKVCache | None = None
        self.soft_cap: float | None = getattr(network.config, "final_logit_softcapping", None)
        rotary.take_over(network)
        for layer in network.model.layers:
            attention = layer.self_attn
            attention.kv_cache = self._cache(attention)
            if isinstance(attention.kv_cache, RingBufferKVCache):
                self.ring = attention.kv_cache

    def _cache(self, attention: nn.Module) -> KVCache | RingBufferKVCache:
        config = self.network.config
        window = getattr(attention, "sliding_window", None)
        sizes = dict(
            max_batch_size=1,
            n_heads=config.num_key_value_heads,
            head_dim=attention.head_dim,
            dtype=self.network.dtype,
        )
        if window is None or window >= self.max_seq_len:
            return KVCache(max_context_length=self.max_seq_len, enable_dynamic_shape=True, **sizes)
        return RingBufferKVCache(
            max_context_length=window, max_write_len=min(self.prefill_chunk, window), **sizes
        )

    def forward(self, tokens: torch.Tensor, cache_position: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        start = cache_position[0].item()
        torch._check(start >= 0)
        torch._check(start + length <= self.max_seq_len)
        ring_mask = None
        if self.ring is not None:
            ring_mask = self.ring.create_sliding_window_mask(start, length)
        hidden = self.network.model(
            input_ids=tokens,
            position_ids=cache_position.unsqueeze(0),
            use_cache=False,
            start=start,
            ring_mask=ring_mask,
        ).last_hidden_state
        if not self.all_logits:
            hidden = hidden[:, -1:]
        logits = self.network.lm_head(hidden)
        if self.soft_cap is not None:
            logits = torch.tanh(logits / self.soft_cap) * self.soft_cap
        return logits


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    start: int,
    ring_mask: torch.Tensor | None,
    scaling: float,
    **_,
) -> tuple[torch.Tensor, None]:
    """Attention of one layer: rotates q and k, puts this step's k and v into the layer's cache and
    attends to all of it.

    query: (1, heads, S, size). key, value: (1, KV heads, S, size). start: the first of the S
    positions. ring_mask: what the step may see of a ring buffer. Returns (1, S, heads, size), as
    `transformers` asks of an attention function.
    """
    cache = module.kv_cache
    query, key = rotary.rotate(module, query, start), rotary.rotate(module, key, start)
    keys, values = cache.update(start, key, value)
    if isinstance(cache, RingBufferKVCache):
        # The operator looks at the first start_pos + S rows: here at all, and the mask chooses.
        first, mask, causal = cache.buffer_size - query.shape[2], ring_mask, False
    else:
        first, mask, causal = start, None, True
    out = torch.ops.mlx.custom_sdpa(
        query, keys, values, start_pos=first, attn_mask=mask, is_causal=causal, scale=scaling
    )
    return out.transpose(1, 2).contiguous(), None


def _no_mask(*_, **__) -> None:
    """In the place of what makes masks: `attend` needs none but the ring's."""


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, _no_mask)
