"""Real models, exported and run: their logits and tokens are llama.cpp's.

`reference/*.json` hold what llama.cpp computes in float32 on the same files with every tensor
dequantized: the 32 largest logits at each position of two prompts, and 24 greedy tokens. SmolLM2
runs with every change; Gemma and repacking take longer and are marked manual.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.mlx.gguf.checkpoint import packaged
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.generation.generation import Generation
from backends.mlx.gguf.generation.model_file import ModelFile
from backends.mlx.gguf.lowering.mode import Mode
from backends.mlx.gguf.model import program
from backends.mlx.program import Program
from backends.mlx.runner import Runner

FOLDER = Path(__file__).parent / "reference"


@dataclass(frozen=True)
class Model:
    """A checkpoint, and how far its logits may be from llama.cpp's.

    Gemma's are further: ggml looks its GELU up in a table of halves.
    """

    name: str
    file: Callable[[], Path]
    tolerance: float

    @cached_property
    def prompts(self) -> list[dict[str, Any]]:
        return json.loads((FOLDER / f"{self.name}.json").read_text())["prompts"]


MODELS = [
    Model("smollm2", packaged.smollm2, 1e-3),
    pytest.param(Model("gemma3", packaged.gemma3, 3e-2), marks=pytest.mark.manual),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports each (model, dtype, mode) once."""
    paths = {}

    def export(model: Model, dtype: str = "float32", mode: Mode = Mode.FUSED) -> Path:
        key = (model.name, dtype, mode)
        if key not in paths:
            path = tmp_path_factory.mktemp(model.name) / "model.pte"
            program.export(
                GGUFFile(model.file()),
                path,
                program.Options(
                    dtype=dtype,
                    max_seq_len=1024,
                    prefill_chunk=64,
                    mode=mode,
                    all_logits=True,
                ),
            )
            paths[key] = path
        return paths[key]

    return export


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_llama_cpp(model, exported):
    path = exported(model)
    # The tokenizer is more text as JSON than in the file; the weights are the same bytes.
    assert path.stat().st_size < model.file().stat().st_size * 1.05
    assert sum(len(method.graphs) for method in Program(path).methods.values()) == 1
    opened = ModelFile(path)
    for prompt in model.prompts:
        ids = opened.tokenizer.encode(prompt["text"])
        assert ids == prompt["ids"]
        largest = np.take_along_axis(_logits(path, ids), np.array(prompt["top_ids"]), 1)
        error = np.abs(largest - prompt["top_logits"]).max()
        generation = Generation(opened.session(), ids, choose=np.argmax, end_ids=(), max_tokens=24)
        tokens = list(generation)
        print(
            f"{model.name}: {prompt['text']!r}: largest difference of a logit {error:.1e}, "
            f"decode {generation.decode_rate:.1f} tokens/s"
        )
        assert error <= model.tolerance
        assert tokens == prompt["greedy"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_bfloat16(model, exported):
    agreement, divergence = _compare(model, exported(model), exported(model, "bfloat16"))
    print(f"{model.name}: bfloat16 for float32: top-1 {agreement:.1%}, KL {divergence:.1e}")
    assert agreement >= 0.95 and divergence < 0.02


@pytest.mark.manual
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_repack(model, exported):
    repacked = exported(model, mode=Mode.REPACK)
    agreement, divergence = _compare(model, exported(model), repacked)
    print(f"{model.name}: repack for fused: top-1 {agreement:.1%}, KL {divergence:.1e}")
    assert agreement >= 0.95 and divergence < 0.02


def _compare(model: Model, expected: Path, found: Path) -> tuple[float, float]:
    """How often the most probable token is the same, and the mean Kullback-Leibler divergence,
    over the positions of the prompts and their greedy continuations."""
    agreement, divergence = [], []
    for prompt in model.prompts:
        ids = prompt["ids"] + prompt["greedy"]
        p, q = (_log_softmax(_logits(path, ids)) for path in (expected, found))
        agreement.append(p.argmax(1) == q.argmax(1))
        divergence.append((np.exp(p) * (p - q)).sum(1))
    return np.concatenate(agreement).mean(), np.concatenate(divergence).mean()


def _logits(path: Path, ids: list[int]) -> np.ndarray:
    """float32 (positions, vocabulary)."""
    return np.array(Runner(path)(np.array([ids]), np.arange(len(ids)))[0])[0]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
