"""What an exported program holds: its methods, nodes, kernels, constants and named data."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import gcd, prod
from typing import Any

from backends.mlx.gguf.card import CARD
from backends.mlx.gguf.command import tables
from backends.mlx.gguf.command.inspection import pte_constants
from backends.mlx.gguf.kernels import KernelName
from backends.mlx.program import Program, ProgramError
from backends.mlx.program.dtypes import ScalarType, scalar_type
from backends.mlx.program.graph import TENSOR_SLOT, Graph, Vid, operand
from backends.mlx.program.verify_kernel import template_arguments

_LARGEST = 8


def describe(program: Program, with_tensors: bool = False) -> dict[str, Any]:
    """The program as an object for JSON; see `inspect_file.py` for its keys.

    Raises:
        ProgramError: the program's card is no JSON object, or a method's calls do not fit its
            delegates.
    """
    try:
        return _describe(program, with_tensors)
    except ProgramError as error:
        raise error.at(program.path) from None


def _describe(program: Program, with_tensors: bool) -> dict[str, Any]:
    named = program.named_data()
    constant_methods = program.constant_methods()
    tensors = pte_constants.list_all(program)
    names = program.constants().keys()
    description = {
        "format": "pte",
        "path": str(program.path),
        "bytes": program.path.stat().st_size,
        "card": _card(named),
        "methods": [
            _method(method)
            for name, method in program.methods.items()
            if name not in constant_methods
        ],
        "constant_methods": {name: tables.plain(value) for name, value in constant_methods.items()},
        "nodes": dict(program.node_counts().most_common()),
        "kernels": _kernels(program),
        "constants": _constants(tensors),
        "named_data": [
            {"name": name, "bytes": len(data)} for name, data in named.items() if name not in names
        ],
    }
    if with_tensors:
        description["tensors"] = tensors
    return description


def text(description: dict[str, Any]) -> str:
    """What `describe` returned, as tables."""
    parts = [f"{description['path']}: ExecuTorch program, {description['bytes']:,} bytes"]
    if description["card"] is not None:
        parts.append(tables.render(("model", "value"), description["card"].items(), (0, 1)))
    for method in description["methods"]:
        parts.append(_method_text(method))
    if description["constant_methods"]:
        parts.append(
            tables.render(("constant method", "value"), description["constant_methods"].items())
        )
    parts.append(tables.render(("node", "count"), description["nodes"].items()))
    if description["kernels"]:
        parts.append(_kernel_table(description["kernels"]))
    parts.append(_constant_table(description["constants"]))
    parts.append(_tensor_table("largest constants", description["constants"]["largest"]))
    if description["named_data"]:
        parts.append(
            tables.render(
                ("named data", "bytes"),
                [(item["name"], item["bytes"]) for item in description["named_data"]],
            )
        )
    if "tensors" in description:
        parts.append(_tensor_table("constant", description["tensors"]))
        parts += [_buffer_table(method) for method in description["methods"] if method["buffers"]]
    return "\n\n".join(parts)


def _method_text(method: dict[str, Any]) -> str:
    values = [
        (f"{kind} {index}", value["dtype"], _dimensions(value["shape"]), None)
        for kind in ("input", "output")
        for index, value in enumerate(method[f"{kind}s"])
    ]
    # A cache is many buffers alike; --tensors lists them.
    alike = defaultdict(list)
    for buffer in method["buffers"]:
        alike[buffer["dtype"], _dimensions(buffer["shape"])].append(buffer["bytes"])
    values += [(f"buffers, {len(sizes)}", *key, sum(sizes)) for key, sizes in alike.items()]
    headers = (f"method {tables.cell(method['name'])}", "dtype", "shape", "bytes")
    lines = [tables.render(headers, values, (0, 1, 2))]
    lines += [
        f"delegate {index}: {item['backend']}, {item['instructions']:,} nodes in "
        f"{item['chains']:,} chains, {item['constants']:,} constants"
        for index, item in enumerate(method["delegates"])
    ]
    if method["operators"]:
        lines.append(f"outside the delegates: {tables.cell(', '.join(method['operators']))}")
    return "\n".join(lines)


def _buffer_table(method: dict[str, Any]) -> str:
    headers = (f"buffer of {tables.cell(method['name'])}", "dtype", "shape", "bytes")
    rows = [
        (item["name"], item["dtype"], _dimensions(item["shape"]), item["bytes"])
        for item in method["buffers"]
    ]
    return tables.render(headers, rows, (0, 1, 2), tables.NAME_WIDTH)


def _kernel_table(kernels: list[dict[str, Any]]) -> str:
    rows = []
    for kernel in kernels:
        template = kernel["template"]
        dtypes = {key: value for key, value in template.items() if isinstance(value, str)}
        tuning = {key: value for key, value in template.items() if key not in dtypes}
        rows.append(
            (
                kernel["type"],
                kernel["operation"] or kernel["name"],
                None if kernel["bias"] is None else "yes" if kernel["bias"] else "no",
                _pairs(dtypes),
                _pairs(tuning),
                _dimensions(kernel["grid"]),
                _dimensions(kernel["threadgroup"]),
                kernel["uses"],
            )
        )
    rows.append(("all", "", "", "", "", "", "", sum(kernel["uses"] for kernel in kernels)))
    pipelines = {(kernel["name"], *kernel["template"].items()) for kernel in kernels}
    table = tables.render(
        (
            "kernel",
            "operation",
            "bias",
            "dtypes",
            "tuning",
            "grid (threads)",
            "threadgroup",
            "uses",
        ),
        rows,
        (0, 1, 2, 3, 4),
    )
    return f"{table}\n{len(pipelines)} pipelines; n: known at run time"


def _constant_table(constants: dict[str, Any]) -> str:
    rows = [
        (_held(group["holds"], group["type"]), group["count"], group["bytes"])
        for group in constants["groups"]
    ]
    rows.append(
        (f"all, under {constants['names']:,} names", constants["count"], constants["bytes"])
    )
    table = tables.render(("constants", "count", "bytes"), rows)
    if constants["alignment"] is None:
        return table
    return f"{table}\nat multiples of {constants['alignment']:,} bytes in the file"


def _held(holds: str, kind: str) -> str:
    if holds == "gguf":
        return f"{kind} blocks, as in the GGUF file"
    return kind if holds == "dense" else f"{kind} of MLX's {holds} quantization"


def _tensor_table(title: str, tensors: list[dict[str, Any]]) -> str:
    return tables.render(
        (title, "type", "dtype", "shape", "bytes", "offset"),
        [
            (
                item["name"],
                item["type"] if item["holds"] == "gguf" else item["holds"],
                item["dtype"],
                _dimensions(item["shape"]),
                item["bytes"],
                item["offset"],
            )
            for item in tensors
        ],
        (0, 1, 2),
        tables.NAME_WIDTH,
    )


def _dimensions(shape: list | None) -> str | None:
    """`1 x 1..32 x 512`; n for a size of which nothing is known."""
    if shape is None:
        return None
    return " x ".join(map(_dimension, shape)) or "scalar"


def _dimension(size: int | dict[str, int | None] | None) -> str:
    if isinstance(size, dict):
        return f"{size['min']}..{'' if size['max'] is None else size['max']}"
    return "n" if size is None else str(size)


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={int(value) if isinstance(value, bool) else value}" for key, value in values.items()
    )


def _card(named: Mapping[str, Any]) -> dict[str, Any] | None:
    if CARD not in named:
        return None
    what = f"named data {CARD!r}"
    try:
        card = json.loads(bytes(named[CARD]))
    except ValueError as error:
        raise ProgramError(what, "JSON", error) from None
    if not isinstance(card, dict):
        raise ProgramError(what, "a JSON object", type(card).__name__)
    return card


def _method(method) -> dict[str, Any]:
    plan = method.plan
    metas = _delegate_metas(method)
    return {
        "name": method.name,
        "delegates": [
            {
                "backend": delegate.id,
                "chains": len(graph.chains),
                "instructions": sum(map(len, graph.chains)),
                "constants": len(graph.constants),
            }
            for delegate, graph in zip(plan.delegates, method.graphs, strict=True)
        ],
        "operators": [f"{item.name}.{item.overload}" for item in plan.operators],
        "inputs": [_value(plan, index, metas) for index in plan.inputs],
        "outputs": [_value(plan, index, metas) for index in plan.outputs],
        "buffers": [
            _buffer(graph, slot.idx)
            for graph in method.graphs
            for slot in graph.record.mutable_buffer_map
        ],
    }


def _delegate_metas(method) -> dict[int, Any]:
    """The TensorMeta of the delegates' arguments, by the plan's value index.

    The plan's own tensors have the largest sizes only, the delegates' their ranges.
    """
    metas = {}
    for chain in method.plan.chains:
        for instruction in chain.instructions:
            call = instruction.instr_args
            if type(call).__name__ != "DelegateCall":
                continue
            what = f"method {method.name!r} call of a delegate"
            if not 0 <= call.delegate_index < len(method.graphs):
                raise ProgramError(
                    what, f"an index below {len(method.graphs)}", call.delegate_index
                )
            graph = method.graphs[call.delegate_index]
            slots = (*graph.record.input_map, *graph.record.output_map)
            if len(call.args) != len(slots):
                raise ProgramError(what, f"{len(slots)} arguments", len(call.args))
            metas.update(
                (index, graph.meta(slot.idx))
                for index, slot in zip(call.args, slots, strict=True)
                if slot.slot_type == TENSOR_SLOT
            )
    return metas


def _value(plan, index: int, metas: dict[int, Any]) -> dict[str, Any]:
    if not 0 <= index < len(plan.values):
        raise ProgramError(
            f"method {plan.name!r} value", f"an index below {len(plan.values)}", index
        )
    value = plan.values[index].val
    if type(value).__name__ != "Tensor":
        return {"dtype": type(value).__name__.lower(), "shape": None}
    dtype = scalar_type(value.scalar_type, f"value {index} dtype").name
    meta = metas.get(index)
    return {"dtype": dtype, "shape": list(value.sizes) if meta is None else _shape(meta)}


def _shape(meta) -> list[int | dict[str, int | None]]:
    return [
        dim.value
        if dim.value >= 0
        else {"min": dim.min_value, "max": None if dim.max_value < 0 else dim.max_value}
        for dim in meta.shape
    ]


def _buffer(graph: Graph, index: int) -> dict[str, Any]:
    meta = graph.meta(index)
    type_ = scalar_type(meta.scalar_type, f"buffer {index} dtype")
    shape = _shape(meta)
    return {
        "name": graph.constant_name(index),
        "dtype": type_.name,
        "shape": shape,
        "bytes": prod(shape) * type_.size,
    }


def _kernels(program: Program) -> list[dict[str, Any]]:
    """Kernel nodes that differ in name, template arguments or launch, and how many of each."""
    uses = Counter(
        (
            node.name,
            tuple(template_arguments(node).items()),
            _sizes(node.grid),
            _sizes(node.threadgroup),
        )
        for node in program.kernels()
    )
    found = []
    for (name, template, grid, threadgroup), count in uses.items():
        parsed = KernelName.parse(name)
        found.append(
            {
                "name": name,
                "type": parsed and parsed.ggml_type,
                "operation": parsed and parsed.operation,
                "bias": parsed and parsed.bias,
                "template": {
                    key: value.name if isinstance(value, ScalarType) else value
                    for key, value in template
                },
                "grid": list(grid),
                "threadgroup": list(threadgroup),
                "uses": count,
            }
        )
    return found


def _sizes(values) -> tuple[int | None, ...]:
    chosen = (operand(value) for value in values)
    return tuple(None if isinstance(size, Vid) else size for size in chosen)


def _alignment(offsets: Iterable[int]) -> int | None:
    """The largest power of two that all offsets are multiples of; None where there are none."""
    common = gcd(*offsets)
    return common & -common or None


def _constants(tensors: list[dict[str, Any]]) -> dict[str, Any]:
    # By place, as equal constants of different names are stored once.
    stored = {(tensor["offset"], tensor["bytes"]): tensor for tensor in reversed(tensors)}
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for tensor in sorted(stored.values(), key=lambda tensor: tensor["offset"]):
        groups[tensor["holds"], tensor["type"]].append(tensor["bytes"])
    return {
        "count": len(stored),
        "bytes": sum(tensor["bytes"] for tensor in stored.values()),
        "names": len(tensors),
        "alignment": _alignment(tensor["offset"] for tensor in stored.values()),
        "groups": [
            {"holds": holds, "type": type_, "count": len(sizes), "bytes": sum(sizes)}
            for (holds, type_), sizes in groups.items()
        ],
        "largest": sorted(stored.values(), key=lambda tensor: -tensor["bytes"])[:_LARGEST],
    }
