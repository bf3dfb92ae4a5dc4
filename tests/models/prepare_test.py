"""`Runner.prepare` finds every kernel that a language model may ever run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.model import program
from backends.mlx.gguf.model.testing import MODELS
from backends.mlx.metal import compile as compile_
from backends.mlx.metal import libraries
from backends.mlx.runner import Runner

CHUNK = 16


@pytest.mark.parametrize("name", ["llama", "qwen3moe"])
def test_neither_prefill_nor_decode_compiles(name, tmp_path, monkeypatch):
    # One type, because each kernel takes the compiler seconds.
    dataclasses.replace(MODELS[name](), types=("Q8_0",)).write(tmp_path / "tiny.gguf")
    options = program.Options(mode="fused", max_seq_len=64, prefill_chunk=CHUNK)
    path = program.export(GGUFFile(tmp_path / "tiny.gguf"), tmp_path / "tiny.pte", options).path

    # What other tests have loaded or compiled must not help.
    monkeypatch.setattr(libraries, "_entries", {})
    runner = Runner(path)
    assert runner.prepare() == len(libraries._entries) > 3
    prepared = set(libraries._entries)

    monkeypatch.setattr(compile_, "compile_library", None)
    start = 0
    for length in (CHUNK, 1, 7, 8, 2, 1, CHUNK):
        positions = np.arange(start, start + length)
        (logits,) = runner(positions[None] % 5, positions)
        assert np.isfinite(np.array(logits)).all()
        start += length
    assert set(libraries._entries) == prepared
    # A second session, and a second process, which has the cache but nothing loaded.
    assert Runner(path).prepare() == len(prepared)
    monkeypatch.setattr(libraries, "_entries", {})
    assert Runner(path).prepare() == len(prepared)
