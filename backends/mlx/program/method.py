"""A program's entry points, and what those return that compute nothing (`constant_methods`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from backends.mlx.program.errors import ProgramError
from backends.mlx.program.graph import Graph

_FIELDS = {"Int": "int_val", "Double": "double_val", "Bool": "bool_val", "String": "string_val"}


@dataclass(frozen=True)
class Method:
    """One entry point: its `ExecutionPlan` record and the graphs of its delegates, in order."""

    name: str
    plan: Any
    graphs: tuple[Graph, ...]

    def constant_value(self) -> int | float | bool | str | list | None:
        """What the method returns if that is fixed at export, None where it is computed.

        ExecuTorch stores a list as one output an element; the plan's container metadata tells a
        list of one from a lone value. Raises ProgramError for an output that the plan has not.
        """
        plan = self.plan
        if plan.inputs or not plan.outputs or any(chain.instructions for chain in plan.chains):
            return None
        values = []
        for index in plan.outputs:
            if not 0 <= index < len(plan.values):
                raise ProgramError(
                    f"method {self.name!r}: output value",
                    f"an index below {len(plan.values)}",
                    index,
                )
            values.append(literal(plan.values[index].val))
        if any(value is None for value in values):
            return None
        return values if len(values) > 1 or _is_list(plan) else values[0]


def literal(value: object) -> int | float | bool | str | None:
    """What a plan's value record says itself; None where it is a tensor, a list or null."""
    field = _FIELDS.get(type(value).__name__)
    return None if field is None else getattr(value, field)


def _is_list(plan) -> bool:
    # A serialized pytree specification: [protocol, {"type": ..., "children_spec": [...]}].
    metadata = plan.container_meta_type
    try:
        kind = json.loads(metadata.encoded_out_str)[1]["type"]
    except (AttributeError, LookupError, TypeError, ValueError):
        return False
    return kind in ("builtins.list", "builtins.tuple")
