"""Exported models of every architecture against their eager modules in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backends.mlx.gguf.checkpoint.gguf_file import GGUFFile
from backends.mlx.gguf.model import program, tiny_model
from backends.mlx.runner import Runner

LENGTH, CHUNK = 21, 8


@pytest.mark.parametrize("lowering", ["fused", "repack"])
@pytest.mark.parametrize("name", tiny_model.MODELS)
def test_logits(name, lowering, tmp_path):
    """Prefill in chunks, one shorter, then single tokens; past a sliding window and its ring."""
    tiny = tiny_model.MODELS[name]()
    truth = tiny_model.write(tiny, tmp_path / "tiny.gguf")
    file = GGUFFile(tmp_path / "tiny.gguf")
    exported = program.export(
        file, tmp_path / "tiny.pte", dtype="float32", max_seq_len=64, prefill_chunk=CHUNK,
        lowering=lowering, all_logits=True,
    )
    tokens = torch.randint(tiny_model.VOCABULARY, (1, LENGTH))
    with torch.no_grad():
        expected = truth(tokens, use_cache=False).logits[0].numpy()
    found = _run(Runner(exported.path), tokens.numpy(), [CHUNK, 5, 1, 1, CHUNK - 2])
    error = np.abs(found - expected).max() / expected.std()
    print(f"{name} {lowering}: largest error {error:.1e} of the logits' standard deviation")
    assert error < 1e-3
    assert (found.argmax(-1) == expected.argmax(-1)).all()


def _run(runner: Runner, tokens: np.ndarray, lengths: list[int]) -> np.ndarray:
    """The logits of all tokens, (length, vocabulary), called with `lengths` of them at a time."""
    assert sum(lengths) == tokens.shape[1]
    logits, start = [], 0
    for length in lengths:
        positions = np.arange(start, start + length)
        logits.append(np.array(runner(tokens[:, positions], positions)[0])[0])
        start += length
    return np.concatenate(logits)
