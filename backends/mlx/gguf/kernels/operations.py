"""The operations that kernels do, each with its files and arguments: the one table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from backends.mlx.gguf.formats import FORMATS


@dataclass(frozen=True)
class Operation:
    """What all kernels of an operation have, whatever their type.

    name: "qmv_batch_16"; what differs only by its tile has a name of its own.
    file: of its sources: `ops/FILE.h`, the function, and `ops/FILE.metal`, the body that calls it.
    kind: "linear", "experts" (each row of x with the matrix that an index names) or "embedding".
    inputs: names of the arrays, without the bias.
    dtypes: the template arguments that are dtypes, in order, without that of the bias.
    tuning: the template arguments that follow, in order. `dispatch` gives their values.
    may_have_bias: whether there are kernels with a bias, the last input and the last dtype.
    """

    name: str
    file: str
    kind: str
    inputs: tuple[str, ...]
    dtypes: tuple[str, ...]
    tuning: tuple[str, ...] = ()
    may_have_bias: bool = False


def _linear(name: str, file: str, *tuning: str) -> Operation:
    return Operation(name, file, "linear", ("x", "weight"), ("InT", "OutT"), tuning, True)


def _experts(name: str, *tuning: str) -> Operation:
    inputs, dtypes = ("x", "weight", "indices"), ("InT", "OutT", "IndexT")
    return Operation(name, name, "experts", inputs, dtypes, tuning)


_ROWS = (
    _linear("qmv", "qmv", "ROWS", "X_ROWS", "SIMDGROUPS", "SPLIT_K"),
    _linear("qmv_2", "qmv", "ROWS", "X_ROWS", "SIMDGROUPS", "SPLIT_K"),
    _linear("qmv_batch", "qmv_batch", "TILES", "X_TILES", "SIMDGROUPS"),
    _linear("qmv_batch_16", "qmv_batch", "TILES", "X_TILES", "SIMDGROUPS"),
    _linear("qmm", "qmm", "OUTPUTS", "X_ROWS", "SIMDGROUPS"),
    _experts("gather_qmv", "ROWS", "SIMDGROUPS", "SPLIT_K"),
    _experts("gather_qmm", "OUTPUTS", "X_ROWS", "SIMDGROUPS"),
    Operation(
        "gather", "gather", "embedding", ("weight", "indices"), ("IndexT", "OutT"), ("SHARE",)
    ),
)

OPERATIONS = {operation.name: operation for operation in _ROWS}


def names_of(kind: str) -> tuple[str, ...]:
    """The names of the operations of a kind."""
    return tuple(operation.name for operation in _ROWS if operation.kind == kind)


LINEAR, EXPERTS, EMBEDDING = names_of("linear"), names_of("experts"), names_of("embedding")


def find(name: str, kind: str | None = None) -> Operation:
    """The operation of that name and, if given, of that kind.

    Raises:
        ValueError: there is none.
    """
    names = tuple(OPERATIONS) if kind is None else names_of(kind)
    if name not in names:
        raise ValueError(f"operation: expected one of {', '.join(names)}, found {name!r}")
    return OPERATIONS[name]


_BIAS = "_bias"


class KernelName(NamedTuple):
    """What the name of a kernel says: the GGUF type, the operation, whether a bias is added.

    As a string it is that name: `gguf_TYPE_OPERATION[_bias]`, the type in small letters.
    """

    ggml_type: str
    operation: str
    bias: bool

    def __str__(self) -> str:
        return f"gguf_{self.ggml_type.lower()}_{self.operation}{_BIAS if self.bias else ''}"

    @classmethod
    def parse(cls, name: str) -> KernelName | None:
        """Takes a name apart; None for another program's kernels."""
        for ggml_type in FORMATS:
            prefix = f"gguf_{ggml_type.lower()}_"
            operation = name.removeprefix(prefix).removesuffix(_BIAS)
            if name.startswith(prefix) and operation in OPERATIONS:
                return cls(ggml_type, operation, name.endswith(_BIAS))
        return None
