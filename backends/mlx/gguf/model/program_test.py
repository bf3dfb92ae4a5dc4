"""Exported models of every architecture against their eager modules in float32."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from backends.mlx.gguf import formats
from backends.mlx.gguf.card import CARD, ModelCard
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.kernels.operations import KernelName
from backends.mlx.gguf.lowering import use_mode
from backends.mlx.gguf.lowering.mode import ENVIRONMENT_VARIABLE
from backends.mlx.gguf.model import program
from backends.mlx.gguf.model.testing import MODELS, VOCABULARY, Tiny
from backends.mlx.program import Program
from backends.mlx.runner import Runner

LENGTH, CHUNK = 21, 8


@pytest.mark.parametrize("mode", ["fused", "repack"])
@pytest.mark.parametrize("name", MODELS)
def test_logits(name, mode, tmp_path):
    """Prefill in chunks, one shorter, then single tokens; past a sliding window and its ring."""
    path, truth = _export(MODELS[name](), tmp_path, CHUNK, dtype="float32", mode=mode)
    opened = Program(path)
    assert sum(len(method.graphs) for method in opened.methods.values()) == 1
    card = ModelCard.parse(path, bytes(opened.named_data()[CARD]))
    # Repacking keeps the kernels of the types that MLX may have no form for.
    types = {KernelName.parse(kernel.name).ggml_type for kernel in opened.kernels()}
    fused = any(formats.form(formats.get(ggml_type)).certain for ggml_type in types)
    assert card.lowering == mode == ("fused" if fused else "repack")
    expected, found = _logits(truth, path, [CHUNK, 5, 1, 1, CHUNK - 2])
    error = np.abs(found - expected).max() / expected.std()
    print(f"{name} {mode}: largest error {error:.1e} of the logits' standard deviation")
    assert error < 1e-3
    assert (found.argmax(-1) == expected.argmax(-1)).all()


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-3), ("bfloat16", 0.3)])
def test_many_rows_of_experts(dtype, tolerance, tmp_path):
    """Enough tokens in one call that an expert takes its rows together.

    The median over the tokens: after a rounding to bfloat16 another expert may be next for some.
    """
    path, truth = _export(MODELS["qwen3moe"](), tmp_path, LENGTH, dtype=dtype, mode="fused")
    assert any("gather_qmm" in node.name for node in Program(path).kernels())
    expected, found = _logits(truth, path, [LENGTH])
    error = np.median(np.abs(found - expected).max(-1)) / expected.std()
    print(f"{dtype}: median of the tokens' errors {error:.1e} of the logits' standard deviation")
    assert error < tolerance


@pytest.mark.parametrize("given", ["argument", "environment", "use_mode"])
def test_card_names_the_mode_of_the_lowering(given, tmp_path, monkeypatch):
    """However that is given. `test_logits` looks at real programs, which take longer."""
    modes = []

    def lower(module, inputs, path, *, mode=None, named_data, **_):
        with use_mode(mode) as settings:
            modes.append((settings.mode.value, json.loads(named_data[CARD])["lowering"]))

    monkeypatch.setattr(program, "export_module", lower)
    MODELS["qwen2"]().write(tmp_path / "tiny.gguf")
    if given == "environment":
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "0")
    options = program.Options(mode="repack" if given == "argument" else None)
    with use_mode("repack") if given == "use_mode" else contextlib.nullcontext():
        program.export(GGUFFile(tmp_path / "tiny.gguf"), tmp_path / "tiny.pte", options)
    assert modes == [("repack", "repack")]


def _export(
    tiny: Tiny, folder: Path, chunk: int, *, dtype: str, mode: str
) -> tuple[Path, PreTrainedModel]:
    """The program, and the truth."""
    truth = tiny.write(folder / "tiny.gguf")
    exported = program.export(
        GGUFFile(folder / "tiny.gguf"),
        folder / "tiny.pte",
        program.Options(
            dtype=dtype, max_seq_len=64, prefill_chunk=chunk, mode=mode, all_logits=True
        ),
    )
    return exported.path, truth


def _logits(
    truth: PreTrainedModel, path: Path, lengths: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The logits of the truth and of the program for the same tokens, (LENGTH, vocabulary)."""
    tokens = torch.randint(VOCABULARY, (1, LENGTH))
    with torch.no_grad():
        expected = truth(tokens, use_cache=False).logits[0].numpy()
    return expected, _run(Runner(path), tokens.numpy(), lengths)


def _run(runner: Runner, tokens: np.ndarray, lengths: list[int]) -> np.ndarray:
    """The logits of all tokens, (length, vocabulary), called with `lengths` of them at a time."""
    assert sum(lengths) == tokens.shape[1]
    logits, start = [], 0
    for length in lengths:
        positions = np.arange(start, start + length)
        logits.append(np.array(runner(tokens[:, positions], positions)[0])[0])
        start += length
    return np.concatenate(logits)
