"""rules.md names each attribute of each rule that other workspaces load, and no other."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/rules.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
RULES = [name for name in SECTIONS if name != "Labels"]


class Names(dict):
    """The global names of a .bzl file: what it loads or Bazel gives is there, whatever it is."""

    def __missing__(self, name: str) -> Any:
        return MagicMock()


def loaded(path: str) -> Names:
    """Runs a .bzl file, which is Python as far as definitions go."""
    names = Names(
        load=lambda *_, **__: None,
        rule=lambda **given: SimpleNamespace(**given),
        provider=lambda **given: SimpleNamespace(**given),
    )
    exec(compile((ROOT / path).read_text(), path, "exec"), {}, names)
    return names


def file_of(rule: str) -> str:
    return re.search(r"`@mlx_gguf//([\w/]+:\w+\.bzl)`", SECTIONS[rule])[1].replace(":", "/")


def rows(text: str, head: str) -> set[str]:
    """The names in the first column of the tables that begin with `head`."""
    tables = re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return {name for table in tables for name in re.findall(r"^\| `(\w+)`", table, re.MULTILINE)}


@pytest.mark.parametrize("rule", RULES)
def test_attributes(rule: str) -> None:
    found = loaded(file_of(rule))[rule]
    if inspect.isfunction(found):
        own = set(inspect.signature(found).parameters) - {"name", "kwargs"}
    else:
        own = {name for name in found.attrs if not name.startswith("_")}
    assert rows(SECTIONS[rule], "attribute") == own and own


def test_fields() -> None:
    info = loaded(file_of("metal_library"))["MetalLibraryInfo"]
    assert rows(SECTIONS["metal_library"], "field") == set(info.fields)
