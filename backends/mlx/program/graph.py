"""The MLX delegate's payload, decoded: instruction chains of typed node records over slots.

Payload layout (ExecuTorch's `MLXLoader`): 4 bytes padding, `MLX0`, the data offset and data size
as little-endian uint64, then a FlatBuffer up to the data offset. Records carry the names and
fields of the schema's tables: a `MetalKernelNode` has `.name`, `.source`, `.inputs`, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from backends.mlx.overlay import schemas
from backends.mlx.program import flatbuffer, schema
from backends.mlx.program.errors import ProgramError

SCHEMA = schema.parse(schemas.mlx_fbs())
Tid = SCHEMA.structs["Tid"].record
Vid = SCHEMA.structs["Vid"].record

# SlotType of the schema. ExecuTorch's runtime passes tensors and ints only.
TENSOR_SLOT = 0
INT_SLOT = 1

_HEADER_BYTES = 24
_MAGIC = b"MLX0"
_MAX_VERSION = 1

# A node's fields that it writes; every other Tid or Vid is read.
_WRITTEN_FIELDS = frozenset({"out", "outs", "outputs", "sliced"})


@dataclass(frozen=True)
class Use:
    """One mention of a slot by a node: which field, which slot (a Tid or a Vid), and how."""

    field: str
    slot: object
    is_write: bool


class Graph:
    """A decoded payload; `verify.check_graph` has not seen it yet.

    Attributes:
      record: the schema's `MLXGraph` record.
      chains: the instruction chains, each a tuple of node records.
    """

    def __init__(self, payload: memoryview):
        """Decodes `payload`. Raises ProgramError where it is malformed."""
        self.record = flatbuffer.decode(SCHEMA, "MLXGraph", _flatbuffer_of(payload))
        _check_version(self.record.version)
        self.chains = tuple(
            tuple(instruction.op for instruction in chain.instructions)
            for chain in self.record.instruction_chains
        )
        # Tids are numbered by kind in this order.
        counts = (
            self.record.num_constant_tensors,
            self.record.num_input_tensors,
            self.record.num_output_tensors,
            self.record.num_mutable_buffer_tensors,
            self.record.num_temp_tensors,
        )
        ends = [sum(counts[: end + 1]) for end in range(len(counts))]
        self.constants = range(0, ends[0])
        self.mutable_buffers = range(ends[2], ends[3])
        self.num_tensors = ends[4]
        self._names = {
            named.slot.idx: named.name
            for named in self.record.named_slots
            if named.slot.slot_type == TENSOR_SLOT
        }

    def meta(self, index: int):
        """The `TensorMeta` record of tensor slot `index`, None for temporaries."""
        table = self.record.tensor_meta
        return table[index] if index < len(table) else None

    def constant_name(self, index: int) -> str | None:
        """The named-data key of constant slot `index`."""
        return self._names.get(index)

    def describe(self, chain: int, position: int) -> str:
        """How messages name one instruction."""
        return f"chain {chain} instruction {position} {type(self.chains[chain][position]).__name__}"


def uses(node: object) -> Iterator[Use]:
    """Every slot that `node` mentions, reads before writes. Nested chains are not followed.

    Raises ProgramError where a literal-or-slot field is inconsistent.
    """
    found = [
        Use(field.name, slot, field.name in _WRITTEN_FIELDS)
        for field in fields(node)
        for slot in _slots(field.name, getattr(node, field.name))
    ]
    return iter(sorted(found, key=lambda use: use.is_write))


def child_chains(node: object) -> tuple[int, ...]:
    """The indices of the chains that `node` runs."""
    kind = type(node).__name__
    if kind == "IfNode":
        return (node.then_chain_idx, node.else_chain_idx)
    if kind == "ScanNode":
        return (node.body_chain_idx,)
    return ()


def operand(value: object) -> object:
    """The literal, Tid or Vid that an `IntOrVid`, `FloatOrVid`, ... record stands for."""
    kind = type(value).__name__
    if kind in ("IntOrVid", "FloatOrVid"):
        chosen = value.vid if value.is_vid else value.literal
    elif kind == "VidOrTid":
        chosen = value.vid if value.is_vid else value.tid
    elif kind == "IntOrVidOrTid":
        if value.kind > 2:
            raise ProgramError("IntOrVidOrTid.kind", "0, 1 or 2", value.kind)
        chosen = (value.literal, value.vid, value.tid)[value.kind]
    else:
        return value
    if chosen is None:
        raise ProgramError(kind, "the slot that it says it holds", "none")
    return chosen


def _slots(name: str, value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        for item in value:
            yield from _slots(name, item)
    elif isinstance(chosen := operand(value), (Tid, Vid)):
        yield chosen


def _flatbuffer_of(payload: memoryview) -> memoryview:
    if len(payload) < _HEADER_BYTES:
        raise ProgramError("MLX payload size", f"at least {_HEADER_BYTES} bytes", len(payload))
    magic = bytes(payload[4:8])
    if magic != _MAGIC:
        raise ProgramError("MLX payload magic", _MAGIC, magic)
    data_offset = int.from_bytes(payload[8:16], "little")
    data_size = int.from_bytes(payload[16:24], "little")
    if not _HEADER_BYTES < data_offset <= len(payload):
        raise ProgramError(
            "MLX payload data offset", f"{_HEADER_BYTES + 1} to {len(payload)}", data_offset
        )
    if data_offset + data_size > len(payload):
        raise ProgramError(
            "MLX payload data size", f"at most {len(payload) - data_offset} bytes", data_size
        )
    return payload[_HEADER_BYTES:data_offset]


def _check_version(version: str | None) -> None:
    if not version:
        return
    if not version.isdecimal() or int(version) > _MAX_VERSION:
        raise ProgramError("MLX schema version", f"an integer up to {_MAX_VERSION}", version)
