"""The mode: how GGUF weights are lowered, by kernels that read the blocks or repacked for MLX.

The mode is, in this order: an explicit argument; the environment variable
`ET_MLX_EMIT_DIRECT_GGUF` ("1" fused, "0" repack); the value that the build flag
`//backends/mlx/gguf:mode` had when this package was built; fused.

It is read once an export. `export_module(mode=...)` reads it on entry. Where
`to_edge_transform_and_lower` is called directly, `with use_mode(...)` around the call gives it
explicitly, and without that each delegate reads it once, when its first GGUF node is emitted
(see `emit/state.py`).
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from backends.mlx.common.errors import InputError

ENVIRONMENT_VARIABLE = "ET_MLX_EMIT_DIRECT_GGUF"
# Written by Bazel from the build flag; absent in a plain checkout.
BUILD_MODE_FILE = Path(__file__).with_name("build_mode.txt")


class Mode(enum.Enum):
    """`FUSED` keeps the file's bytes; `REPACK` converts them to one of MLX's own quantizations."""

    FUSED = "fused"
    REPACK = "repack"


class AffineDtype(enum.Enum):
    """The type of the scales and biases of repacked weights.

    `ACTIVATION`: rounded once to the type of the activations, as MLX needs to keep that type.
    `FLOAT32`: exact; MLX then computes in float32 and the result is cast. MLX's float modes have
    no such factors: there, x is cast to float32.
    """

    ACTIVATION = "activation"
    FLOAT32 = "float32"


@dataclass(frozen=True)
class Settings:
    """What an export needs to know to lower GGUF weights."""

    mode: Mode
    affine_dtype: AffineDtype = AffineDtype.ACTIVATION


T = TypeVar("T", bound=enum.Enum)

_explicit: ContextVar[Settings | None] = ContextVar("mlx_gguf_settings", default=None)


def resolve(explicit: Mode | str | None = None) -> Mode:
    """Returns the mode to use, `explicit` if given.

    Raises:
        InputError: the argument, the environment variable or the built value is not a mode.
    """
    if explicit is not None:
        return _parse(Mode, explicit, "mode")
    variable = os.environ.get(ENVIRONMENT_VARIABLE)
    if variable is not None:
        modes = {"1": Mode.FUSED, "0": Mode.REPACK}
        if variable not in modes:
            raise InputError(
                f"{ENVIRONMENT_VARIABLE}: expected 1 (fused) or 0 (repack), found {variable!r}"
            )
        return modes[variable]
    if BUILD_MODE_FILE.exists():
        return _parse(
            Mode, BUILD_MODE_FILE.read_text(encoding="utf-8").strip(), BUILD_MODE_FILE.name
        )
    return Mode.FUSED


def current() -> Settings:
    """The settings of the enclosing `use_mode`, or else those of the environment or the build."""
    return _explicit.get() or Settings(resolve())


@contextmanager
def use_mode(
    mode: Mode | str | None = None, *, affine_dtype: AffineDtype | str | None = None
) -> Iterator[Settings]:
    """Gives every export inside the `with` block the same settings, read now.

    Args:
        mode: "fused", "repack" or a `Mode`.
        affine_dtype: "activation", "float32" or an `AffineDtype`.

    What is None comes from the enclosing `use_mode`, or else from the environment or the build.
    """
    settings = _explicit.get()
    if settings is None or mode is not None:
        outer_dtype = settings.affine_dtype if settings else AffineDtype.ACTIVATION
        settings = Settings(resolve(mode), outer_dtype)
    if affine_dtype is not None:
        affine_dtype = _parse(AffineDtype, affine_dtype, "affine_dtype")
        settings = replace(settings, affine_dtype=affine_dtype)
    token = _explicit.set(settings)
    try:
        yield settings
    finally:
        _explicit.reset(token)


def _parse(kind: type[T], value: T | str, source: str) -> T:
    """`value` as a member of `kind`; `source` is what the error calls it."""
    try:
        return kind(value)
    except ValueError:
        names = " or ".join(member.value for member in kind)
        raise InputError(f"{source}: expected {names}, found {value!r}") from None
