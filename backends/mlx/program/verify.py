"""Checks a decoded MLX graph before anything runs, at least as strictly as ExecuTorch's runtime.

From `MLXLoader` and `MLXExecutor`: counts, ranks, chain and slot indices, metadata and names of
constants, static shapes of constants and mutable buffers. What that runtime finds only while it
executes, or not at all, is checked here as well: slots are written before they are read, chains
do not recurse, constants are not written after initialisation, byte lengths match shapes.
"""

from __future__ import annotations

from math import prod

from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.program.graph import INT_SLOT, TENSOR_SLOT, Graph, Tid, child_chains, uses
from backends.mlx.program.verify_flow import check_chains, check_flow
from backends.mlx.program.verify_kernel import check_kernel

_MAX_ITEMS = 1_000_000
_MAX_RANK = 16
_MAX_BUFFER_BYTES = 4 << 30

# These nodes update their destination in place, which a constant does not allow.
_MUTATED_FIELDS = {"SliceUpdateNode": "dst", "IndexCopyNode": "dst"}


def check_graph(graph: Graph) -> None:
    """Checks everything that does not need the constants' data. Raises ProgramError."""
    _check_counts(graph)
    _check_meta(graph)
    _check_maps(graph)
    _check_index("main chain", graph.record.main_chain_idx, len(graph.chains))
    if graph.record.init_chain_idx >= 0:
        _check_index("init chain", graph.record.init_chain_idx, len(graph.chains))
    _check_nodes(graph)
    check_chains(graph)
    check_flow(graph)


def static_shape(meta, what: str) -> tuple[int, ...]:
    """The shape in `meta`. Raises ProgramError where a dimension is dynamic."""
    shape = tuple(dim.value for dim in meta.shape)
    if any(dim < 0 for dim in shape):
        raise ProgramError(f"{what} shape", "static dimensions", list(shape))
    return shape


def check_constant(meta, what: str, found_bytes: int) -> None:
    """Checks that a constant's `found_bytes` bytes are what its `TensorMeta` says."""
    shape = static_shape(meta, what)
    type_ = scalar_type(meta.scalar_type, f"{what} dtype")
    expected = prod(shape) * type_.size
    if found_bytes != expected:
        raise ProgramError(f"{what} bytes", f"{expected} ({type_.name} {list(shape)})", found_bytes)


def _check_counts(graph: Graph) -> None:
    record = graph.record
    counts = {
        "tensors": graph.num_tensors,
        "values": record.num_values,
        "chains": len(graph.chains),
        "inputs": len(record.input_map),
        "outputs": len(record.output_map),
        "mutable buffers": len(record.mutable_buffer_map),
        "named slots": len(record.named_slots),
        "tensor metadata": len(record.tensor_meta),
    }
    for what, count in counts.items():
        if count > _MAX_ITEMS:
            raise ProgramError(f"number of {what}", f"at most {_MAX_ITEMS}", count)


def _check_meta(graph: Graph) -> None:
    for index, meta in enumerate(graph.record.tensor_meta):
        what = f"tensor {index}"
        if len(meta.shape) > _MAX_RANK:
            raise ProgramError(f"{what} rank", f"at most {_MAX_RANK}", len(meta.shape))
        for axis, dim in enumerate(meta.shape):
            _check_dim(f"{what} dimension {axis}", dim)
        scalar_type(meta.scalar_type, f"{what} dtype")
    for index in graph.constants:
        if graph.meta(index) is None or graph.constant_name(index) is None:
            raise ProgramError(f"constant tensor {index}", "metadata and a name", "none")


def _check_dim(what: str, dim) -> None:
    if dim.value < -1:
        raise ProgramError(what, "-1 (dynamic) or more", dim.value)
    if dim.value == -1:
        if dim.min_value < 0:
            raise ProgramError(f"{what} lower bound", "0 or more", dim.min_value)
        if dim.max_value != -1 and dim.max_value < dim.min_value:
            raise ProgramError(f"{what} upper bound", f"{dim.min_value} or more", dim.max_value)


def _check_maps(graph: Graph) -> None:
    record = graph.record
    for name, slots in (("input", record.input_map), ("output", record.output_map)):
        for position, slot in enumerate(slots):
            what = f"{name} {position}"
            if slot.slot_type == TENSOR_SLOT:
                _check_index(f"{what} tensor slot", slot.idx, graph.num_tensors)
            elif slot.slot_type == INT_SLOT:
                _check_index(f"{what} value slot", slot.idx, record.num_values)
            else:
                raise ProgramError(f"{what} slot type", "tensor (0) or int (1)", slot.slot_type)
    for position, slot in enumerate(record.mutable_buffer_map):
        what = f"mutable buffer {position}"
        if slot.slot_type != TENSOR_SLOT:
            raise ProgramError(f"{what} slot type", "tensor (0)", slot.slot_type)
        if slot.idx not in graph.mutable_buffers:
            start, stop = graph.mutable_buffers.start, graph.mutable_buffers.stop
            expected = f"a slot from {start} and below {stop}"
            raise ProgramError(f"{what} slot", expected, slot.idx)
        _check_mutable_buffer(graph.meta(slot.idx), what)
    for named in record.named_slots:
        limit = graph.num_tensors if named.slot.slot_type == TENSOR_SLOT else record.num_values
        _check_index(f"slot of name {named.name!r}", named.slot.idx, limit)


def _check_mutable_buffer(meta, what: str) -> None:
    if meta is None:
        raise ProgramError(what, "metadata", "none")
    shape = static_shape(meta, what)
    size = prod(shape) * scalar_type(meta.scalar_type, what).size
    if not 0 < size <= _MAX_BUFFER_BYTES:
        raise ProgramError(f"{what} bytes", f"1 to {_MAX_BUFFER_BYTES}", size)


def _check_index(what: str, index: int, limit: int) -> None:
    if not 0 <= index < limit:
        raise ProgramError(what, f"an index below {limit}", index)


def _check_nodes(graph: Graph) -> None:
    for chain, nodes in enumerate(graph.chains):
        for position, node in enumerate(nodes):
            try:
                _check_node(graph, node)
            except ProgramError as error:
                raise error.inside(graph.describe(chain, position)) from None


def _check_node(graph: Graph, node: object) -> None:
    kind = type(node).__name__
    for use in uses(node):
        if isinstance(use.slot, Tid):
            _check_index(f"{use.field} tensor slot", use.slot.idx, graph.num_tensors)
        else:
            _check_index(f"{use.field} value slot", use.slot.idx, graph.record.num_values)
    mutated = _MUTATED_FIELDS.get(kind)
    if mutated and getattr(node, mutated).idx in graph.constants:
        raise ProgramError(mutated, "a tensor that may be written", "a constant")
    for chain in child_chains(node):
        _check_index("chain", chain, len(graph.chains))
    if kind == "ScanNode" and not len(node.originals) == len(node.sliced) > 0:
        raise ProgramError(
            "sliced", f"as many slots as originals ({len(node.originals)})", len(node.sliced)
        )
    if kind == "MetalKernelNode":
        check_kernel(graph, node)
