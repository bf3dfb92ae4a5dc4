"""Checks a graph's chains: no recursion, and every slot is written before it is read."""

from __future__ import annotations

from backends.mlx.program.errors import ProgramError
from backends.mlx.program.graph import TENSOR_SLOT, Graph, Tid, child_chains, uses

_MAX_DEPTH = 64


def check_chains(graph: Graph) -> None:
    """Checks that no chain runs itself, and how deep they nest. Raises ProgramError."""
    children = [{child for node in nodes for child in child_chains(node)} for nodes in graph.chains]
    finished: set[int] = set()

    def visit(chain: int, path: tuple[int, ...]) -> None:
        if chain in path or len(path) > _MAX_DEPTH:
            found = " -> ".join(map(str, (*path, chain)))
            raise ProgramError("chains", f"no recursion, {_MAX_DEPTH} levels", found)
        if chain not in finished:
            for child in children[chain]:
                visit(child, (*path, chain))
            finished.add(chain)

    # A chain that is finished has its depth counted from where it was first met: roots first.
    roots = (graph.record.main_chain_idx, max(graph.record.init_chain_idx, 0))
    for chain in (*roots, *range(len(graph.chains))):
        visit(chain, ())


def check_flow(graph: Graph) -> None:
    """Checks every path through chains that `check_chains` has seen. Raises ProgramError."""
    record = graph.record
    persistent = {("tensor", index) for index in graph.constants}
    persistent |= {("tensor", slot.idx) for slot in record.mutable_buffer_map}
    if record.init_chain_idx >= 0:
        _Flow(graph, may_write_constants=True).after(record.init_chain_idx, persistent)
    inputs = {_key(slot) for slot in record.input_map}
    flow = _Flow(graph, may_write_constants=False)
    written = flow.after(record.main_chain_idx, persistent | inputs)
    for position, slot in enumerate(record.output_map):
        if _key(slot) not in written:
            raise ProgramError(f"output {position}", "a slot that is written", f"slot {slot.idx}")


def _key(slot) -> tuple[str, int]:
    """A slot's identity; `slot` is a Tid, a Vid or a SlotVariant."""
    if hasattr(slot, "slot_type"):
        return ("tensor" if slot.slot_type == TENSOR_SLOT else "value", slot.idx)
    return ("tensor" if isinstance(slot, Tid) else "value", slot.idx)


class _Flow:
    """Follows which slots hold a value."""

    def __init__(self, graph: Graph, may_write_constants: bool):
        self.graph = graph
        self.may_write_constants = may_write_constants
        # Without it, branches that meet again would double the work at every level.
        self.known: dict[tuple[int, frozenset], frozenset] = {}

    def after(self, chain: int, written: set | frozenset) -> frozenset:
        """The slots that hold a value after `chain`, given those before it."""
        before = frozenset(written)
        if (chain, before) not in self.known:
            after = set(before)
            for position, node in enumerate(self.graph.chains[chain]):
                try:
                    after |= self.written_by(node, after)
                except ProgramError as error:
                    raise error.inside(self.graph.describe(chain, position)) from None
            self.known[chain, before] = frozenset(after)
        return self.known[chain, before]

    def written_by(self, node: object, before: set) -> set:
        """What `node` writes for certain, after a check of what it reads."""
        outputs = set()
        for use in uses(node):
            key = _key(use.slot)
            if use.is_write:
                outputs.add(key)
                if key[0] == "tensor" and key[1] in self.graph.constants:
                    self.check_constant(use)
            elif key not in before:
                raise ProgramError(
                    use.field, "a slot that is written before it is read", f"{key[0]} slot {key[1]}"
                )
        if type(node).__name__ == "ScanNode":
            inside = before | {_key(slot) for slot in node.sliced}
            body = self.after(node.body_chain_idx, inside)
            if missing := outputs - body:
                raise ProgramError("body", "writes of all outputs", f"none of {sorted(missing)}")
            return outputs | body
        branches = [self.after(chain, before) for chain in child_chains(node)]
        return outputs.union(set.intersection(*map(set, branches)) if branches else ())

    def check_constant(self, use) -> None:
        if not self.may_write_constants:
            found = f"constant {use.slot.idx}"
            raise ProgramError(use.field, "a tensor that may be written", found)
