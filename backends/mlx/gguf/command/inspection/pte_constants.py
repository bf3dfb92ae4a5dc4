"""The constants of a program, and what each holds by the nodes that read it."""

from __future__ import annotations

from typing import Any

from backends.mlx.gguf.kernels import KernelName
from backends.mlx.program import Program
from backends.mlx.program.graph import Graph, Tid, uses

# The nodes that read MLX's quantizations, from fields of these names.
_QUANTIZED_NODES = ("QuantizedMatmulNode", "DequantizeNode", "GatherQmmNode")
_QUANTIZED_FIELDS = ("w", "scales", "biases")


def list_all(program: Program) -> list[dict[str, Any]]:
    """Every constant as {name, holds, type, dtype, shape, bytes, offset}.

    holds: "gguf" if a kernel of this project reads it as blocks, whose GGUF type is `type`; the
    mode, such as "affine", if MLX's quantized operations read it; else "dense", `type` being the
    dtype.
    """
    roles: dict[str, tuple[str, str | None]] = {}
    for method in program.methods.values():
        for graph in method.graphs:
            for slot, role in _roles(graph).items():
                roles[graph.constant_name(slot)] = role
    found = []
    for name, (shape, dtype, size, offset) in program.constants().items():
        holds, ggml_type = roles.get(name, ("dense", None))
        found.append(
            {
                "name": name,
                "holds": holds,
                "type": ggml_type or dtype,
                "dtype": dtype,
                "shape": list(shape),
                "bytes": size,
                "offset": offset,
            }
        )
    return found


def _roles(graph: Graph) -> dict[int, tuple[str, str | None]]:
    """(holds, GGUF type) of the constant slots that kernels or quantized operations read."""
    roles: dict[int, tuple[str, str | None]] = {}
    # A lookup of rows takes them from the table first: what holds for them holds for it.
    taken: dict[int, int] = {}
    for node in (node for chain in graph.chains for node in chain):
        kind = type(node).__name__
        if kind == "MetalKernelNode":
            name = KernelName.parse(node.name)
            if name is not None and "weight" in node.input_names:
                weight = node.inputs[node.input_names.index("weight")]
                roles[weight.idx] = ("gguf", name.ggml_type)
        elif kind in _QUANTIZED_NODES:
            operands = (getattr(node, field) for field in _QUANTIZED_FIELDS)
            for slot in (operand.idx for operand in operands if operand is not None):
                roles[taken.get(slot, slot)] = (node.mode, None)
        for use in uses(node):
            if use.is_write and isinstance(use.slot, Tid):
                taken.pop(use.slot.idx, None)
        if kind == "TakeNode":
            taken[node.out.idx] = node.x.idx
    return {slot: role for slot, role in roles.items() if slot in graph.constants}
