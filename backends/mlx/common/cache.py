"""Where this project keeps what it makes once and finds again: the one folder of its caches.

What runs before any package is there has copies of this rule (`tools/python/install_site.py`,
`tools/repo/offline.sh`); `cache_test.py` compares them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NAME = "mlx_gguf"


def cache_folder(kind: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for what is of `kind` ("metal", "checkpoints", ...). It need not be there yet.

    In `$TEST_TMPDIR`, which Bazel gives each test, where that is set, else in
    `${XDG_CACHE_HOME:-~/.cache}/mlx_gguf`.
    """
    base = environ.get("TEST_TMPDIR") or environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / NAME / kind
