"""Every case of `cases.py`: llama.cpp's logits, or one line that refuses it.

The logits are those of the network before it is exported; `test_exported` takes a few cases to
the end.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from backends.mlx.common.errors import InputError
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.model import architecture, keys, network, program
from backends.mlx.gguf.tokenizer.tokenizer import Tokenizer
from backends.mlx.runner import Runner
from tests.field import page
from tests.field.cases import CASES, Case
from tests.field.llama_cpp import IDS, KEPT, RECORD, write


@functools.cache
def _record() -> dict[str, np.ndarray]:
    return dict(np.load(RECORD))


def _network(file: GGUFFile) -> torch.nn.Module:
    """As `export` makes it, all checks included."""
    architecture.config_of(file)
    Tokenizer.from_gguf(file)
    built = network.build(file, torch.float32)
    keys.check(file)
    return built


def _error(logits: np.ndarray, case: Case) -> float:
    recorded = _record()[case.name]
    expected, deviation = recorded[:-1].reshape(logits[KEPT].shape), recorded[-1]
    return float(np.abs(logits[KEPT] - expected).max() / deviation)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_case(case: Case, tmp_path: Path) -> None:
    file = GGUFFile(write(case, tmp_path))
    if case.refused:
        with pytest.raises(InputError) as caught:
            _network(file)
        text = str(caught.value)
        assert case.refused in text and str(file.path) in text and "\n" not in text
        return
    with torch.no_grad():
        logits = _network(file)(torch.tensor([IDS])).logits[0].numpy()
    assert _error(logits, case) <= case.tolerance
    assert bool(case.warned) == bool(file.warnings)
    assert case.warned in "\n".join(file.warnings)


def test_every_case_is_recorded() -> None:
    """Those that are refused here may run in llama.cpp or not."""
    run = {name for name, case in CASES.items() if not case.refused}
    assert run <= _record().keys() <= CASES.keys() | {"llama.cpp"}


@pytest.mark.parametrize(
    "name",
    ["llama with everything", "mixtral factors of down", "soft cap, few layers"],
)
def test_exported(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    file, path = GGUFFile(write(case, tmp_path)), tmp_path / "case.pte"
    program.export(file, path, program.Options(dtype="float32", all_logits=True))
    runner, positions = Runner(path), np.arange(len(IDS))
    # The window of a model is the most that one call takes.
    pieces = [
        np.array(runner(np.array([IDS[start : start + 8]]), positions[start : start + 8])[0])[0]
        for start in range(0, len(IDS), 8)
    ]
    assert _error(np.concatenate(pieces), case) <= case.tolerance


def test_page_is_fresh() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page()


def test_a_refused_key_can_be_ignored(tmp_path: Path) -> None:
    """Then the model is that of a file without the key."""
    file = GGUFFile(write(CASES["logit_scale refused"], tmp_path))
    file.ignore(["llama.logit_scale"])
    with torch.no_grad():
        logits = _network(file)(torch.tensor([IDS])).logits[0].numpy()
    assert _error(logits, CASES["a file of a model"]) <= 2e-4
    assert file.warnings == ["llama.logit_scale: ignored, as was asked"]
    with pytest.raises(InputError, match="llama.nothing.*no such key"):
        file.ignore(["llama.nothing"])
