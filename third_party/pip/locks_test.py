"""The locks agree with each other and with requirements.in."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def locked(name: str) -> dict[str, str]:
    """The packages of a lock and their versions."""
    entries = re.findall(r"^([\w.-]+)==(\S+)", (HERE / name).read_text(), re.MULTILINE)
    packages = dict(entries)
    assert len(packages) == len(entries), f"{name} has a package twice"
    return packages


PLAIN, TORCH, TORCH_CPU = map(locked, ["requirements.lock", "torch.lock", "torch_cpu.lock"])


def test_both_torches_are_of_one_version():
    assert list(TORCH_CPU.items()) == [("torch", TORCH["torch"] + "+cpu")]


def test_locks_that_are_installed_together_agree():
    both = PLAIN.keys() & TORCH.keys()
    assert {name: PLAIN[name] for name in both} == {name: TORCH[name] for name in both}
    assert "sympy" in both
    assert "torch" not in PLAIN


def test_torch_for_cuda_alone_needs_nvidia():
    assert not [name for name in PLAIN if name.startswith(("nvidia", "cuda", "triton"))]
    assert [name for name in TORCH if name.startswith("nvidia")]


@pytest.mark.parametrize(
    "line", re.findall(r"^[\w-][^#\n;]*", (HERE / "requirements.in").read_text(), re.MULTILINE)
)
def test_what_is_required_is_locked(line):
    name, exactly = re.fullmatch(r"([\w-]+)(?:==(\S+))?.*", line.strip()).groups()
    version = (PLAIN | TORCH)[name]
    assert exactly in (None, version)


@pytest.mark.parametrize("name", ["requirements.lock", "torch.lock", "torch_cpu.lock"])
def test_every_package_has_a_hash(name):
    text = (HERE / name).read_text()
    entries = re.findall(r"^[\w.-]+==.*\\\n(?: +--hash=sha256:[0-9a-f]{64}.*\n)+", text, re.M)
    assert len(entries) == len(locked(name)) > 0
