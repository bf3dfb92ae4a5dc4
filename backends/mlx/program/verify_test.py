"""Graphs that must be refused, each with the message that says why."""

import numpy as np
import pytest

from backends.mlx.program import Program, ProgramError
from backends.mlx.program.testing import GraphFile, IntOrVid, Tid, Vid, mlx_schema

X = np.zeros((2, 4), np.float32)
literal, slot = IntOrVid.from_literal, lambda index: IntOrVid.from_vid(Vid(index))


def kernel_file(**changes) -> GraphFile:
    """A program of one sound kernel call, with `changes` to its node."""
    file = GraphFile(
        constants={"w": np.zeros((3, 4), np.uint8)},
        inputs=[X],
        outputs=[X],
        values=1,
        int_inputs=(0,),
    )
    fields = dict(
        name="copy",
        source="out[thread_position_in_grid.x] = x[thread_position_in_grid.x];",
        inputs=[file.input(0), file.constant(0)],
        outputs=[file.output(0)],
        grid=[slot(0), literal(1), literal(1)],
        threadgroup=[literal(8), literal(1), literal(1)],
        input_names=["x", "w"],
        output_names=["out"],
        output_shapes_flat=[slot(0), literal(4)],
        output_shape_lengths=[2],
        output_dtypes=[6],
        template_arg_names=["InT", "OutT", "N", "FLAG"],
        template_arg_kinds=[2, 2, 0, 1],
        template_arg_values=[6, 6, 5, 1],
    )
    file.chains[0].append(mlx_schema.MetalKernelNode(**(fields | changes)))
    return file


def test_sound_kernel_is_accepted(tmp_path):
    (node,) = Program(kernel_file().write(tmp_path / "a.pte")).kernels()
    assert (node.name, node.template_arg_values) == ("copy", (6, 6, 5, 1))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(input_names=["x"]), "input_names: expected 2 entries, found 1"),
        (dict(output_names=[]), "output_names: expected 1 entries, found 0"),
        (dict(inputs=[], input_names=[]), "inputs: expected at least one, found none"),
        (dict(outputs=[], output_names=[]), "outputs: expected at least one, found none"),
        (dict(output_shape_lengths=[2, 2]), "output_shape_lengths: expected 1 entries, found 2"),
        (dict(output_shape_lengths=[-1]), "output_shape_lengths: expected 0 or more"),
        (dict(output_shapes_flat=[literal(4)]), "output_shapes_flat: expected 2 entries, found 1"),
        (dict(output_dtypes=[]), "output_dtypes: expected 1 entries, found 0"),
        (dict(output_dtypes=[7]), "output dtype: expected a ScalarType"),
        (dict(output_shapes_flat=[slot(0), literal(5)]), r"output shape: expected \[2, 4\]"),
        (dict(output_shapes_flat=[slot(0), literal(-4)]), "dimensions of 0 or more"),
        (dict(grid=[literal(1)] * 2), "grid: expected 3 sizes, found 2"),
        (dict(grid=[literal(1)] * 4), "grid: expected 3 sizes, found 4"),
        (dict(grid=[slot(0), literal(0), literal(1)]), "grid: expected sizes above 0"),
        (dict(grid=[literal(1 << 31), literal(1), literal(1)]), "size: expected a 32-bit int"),
        (dict(threadgroup=[literal(1)]), "threadgroup: expected 3 sizes, found 1"),
        (dict(threadgroup=[literal(0)] * 3), "threadgroup: expected sizes above 0"),
        (dict(threadgroup=[literal(64), literal(17), literal(1)]), "at most 1024 threads"),
        (dict(template_arg_kinds=[2, 2, 0]), "template_arg_kinds: expected 4 entries, found 3"),
        (dict(template_arg_values=[6, 6, 5]), "template_arg_values: expected 4 entries"),
        (dict(template_arg_kinds=[2, 2, 3, 1]), "N kind: expected 0 .int., 1 .bool. or 2"),
        (dict(template_arg_values=[6, 6, 5, 2]), "argument FLAG: expected 0 or 1, found 2"),
        (dict(template_arg_values=[7, 6, 5, 1]), "argument InT: expected a ScalarType"),
        (dict(template_arg_values=[5, 6, 5, 1]), "InT: expected the dtype of 'x' .float32."),
        (dict(template_arg_values=[6, 15, 5, 1]), "OutT: expected the dtype of 'out' .float32."),
        (dict(input_names=["x", "x"]), "names: expected each once, found 'x' 2 times"),
        (dict(output_names=["x"]), "names: expected each once"),
        (dict(name="a b"), "name: expected a C identifier, found 'a b'"),
        (dict(input_names=["x", "1w"]), "name: expected a C identifier, found '1w'"),
        (dict(inputs=[Tid(1), Tid(9)]), "inputs tensor slot: expected an index below 3, found 9"),
        (dict(grid=[slot(7), literal(1), literal(1)]), "grid value slot: expected an index"),
        (dict(outputs=[Tid(0)]), "a tensor that may be written, found constant 0"),
    ],
)
def test_inconsistent_kernels(tmp_path, changes, message):
    path = kernel_file(**changes).write(tmp_path / "a.pte")
    with pytest.raises(ProgramError, match=message) as caught:
        Program(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def graph_file() -> GraphFile:
    """Two chains, a temporary, a value and a mutable buffer, all used."""
    file = GraphFile(
        chains=[[], [], []],
        constants={"c": X},
        inputs=[X],
        outputs=[X],
        mutable=[X],
        temps=1,
        values=1,
    )
    add = mlx_schema.AddNode
    file.chains[0] += [
        mlx_schema.SymSizeNode(a=file.input(0), dim=0, out=Vid(0)),
        mlx_schema.IfNode(cond=slot(0), then_chain_idx=1, else_chain_idx=2),
        add(a=file.temp(0), b=file.buffer(0), out=file.output(0)),
    ]
    file.chains[1].append(add(a=file.input(0), b=file.constant(0), out=file.temp(0)))
    file.chains[2].append(mlx_schema.IdCopyNode(x=file.input(0), out=file.temp(0)))
    return file


def test_sound_graph_is_accepted(tmp_path):
    counts = Program(graph_file().write(tmp_path / "a.pte")).node_counts()
    assert counts == {"SymSizeNode": 1, "IfNode": 1, "AddNode": 2, "IdCopyNode": 1}


def _op(graph, chain: int, position: int):
    return graph.instruction_chains[chain].instructions[position].op


def _drop(graph, chain: int, position: int):
    del graph.instruction_chains[chain].instructions[position]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda g: setattr(g, "version", "2"), "schema version: expected an integer up to 1"),
        (lambda g: setattr(g, "version", "x"), "schema version: expected an integer"),
        (lambda g: setattr(g, "main_chain_idx", 3), "main chain: expected an index below 3"),
        (lambda g: setattr(g, "init_chain_idx", 3), "init chain: expected an index below 3"),
        (lambda g: setattr(g, "num_temp_tensors", 2_000_000), "number of tensors: expected"),
        (lambda g: setattr(g, "num_values", 2_000_000), "number of values: expected at most"),
        (lambda g: setattr(g, "num_values", 0), "value slot: expected an index below 0, found 0"),
        (lambda g: setattr(g, "num_temp_tensors", 0), "tensor slot: expected an index below 4"),
        (lambda g: setattr(g.input_map[0], "idx", 9), "input 0 tensor slot: expected an index"),
        (lambda g: setattr(g.input_map[0], "slot_type", 2), "input 0 slot type: expected tensor"),
        (lambda g: setattr(g.output_map[0], "idx", 9), "output 0 tensor slot: expected an index"),
        (lambda g: setattr(g.output_map[0], "slot_type", 3), "output 0 slot type"),
        (lambda g: setattr(g.mutable_buffer_map[0], "idx", 1), "buffer 0 slot: .* from 3 "),
        (lambda g: setattr(g.mutable_buffer_map[0], "slot_type", 1), "buffer 0 slot type"),
        (lambda g: setattr(g.tensor_meta[3].shape[0], "value", -1), "shape: expected static"),
        (lambda g: setattr(g.tensor_meta[3].shape[0], "value", 0), "buffer 0 bytes: expected 1 to"),
        (lambda g: setattr(g.tensor_meta[3].shape[0], "value", 2**30), "buffer 0 bytes"),
        (lambda g: setattr(g.tensor_meta[0].shape[0], "value", -1), "shape: expected static"),
        (lambda g: setattr(g.tensor_meta[1].shape[0], "value", -2), "dimension 0: expected -1"),
        (lambda g: setattr(g.tensor_meta[1], "shape", [mlx_schema.ShapeDim(1)] * 17), "rank"),
        (lambda g: setattr(g.tensor_meta[1], "scalar_type", 7), "tensor 1 dtype: expected a"),
        (
            lambda g: setattr(g.tensor_meta[1], "shape", [mlx_schema.ShapeDim(-1, 5, 4)]),
            "dimension 0 upper bound: expected 5 or more, found 4",
        ),
        (
            lambda g: setattr(g.tensor_meta[1], "shape", [mlx_schema.ShapeDim(-1, -5, 4)]),
            "dimension 0 lower bound: expected 0 or more, found -5",
        ),
        (lambda g: g.named_slots.clear(), "constant tensor 0: expected metadata and a name"),
        (
            lambda g: g.named_slots.append(
                mlx_schema.NamedSlot("d", mlx_schema.SlotVariant(idx=9, slot_type=0))
            ),
            "slot of name 'd': expected an index below 5, found 9",
        ),
        (lambda g: setattr(_op(g, 0, 1), "then_chain_idx", 7), "chain: expected an index below 3"),
        (lambda g: setattr(_op(g, 0, 1), "then_chain_idx", 0), "no recursion, 64 levels, found 0"),
        (lambda g: _drop(g, 0, 0), "IfNode: cond: expected a slot that is written .* value slot 0"),
        (lambda g: _drop(g, 1, 0), "AddNode: a: expected a slot that is written .* tensor slot 4"),
        (lambda g: _drop(g, 2, 0), "AddNode: a: expected a slot that is written .* tensor slot 4"),
        (lambda g: _drop(g, 0, 2), "output 0: expected a slot that is written"),
        (lambda g: setattr(_op(g, 1, 0), "out", Tid(0)), "may be written, found constant 0"),
        (lambda g: setattr(_op(g, 0, 1).cond, "vid", None), "IntOrVid: expected the slot"),
        (lambda g: g.mutable_buffer_map.clear(), "b: expected a slot that is written"),
    ],
)
def test_inconsistent_graphs(tmp_path, change, message):
    file = graph_file()
    graph = file.graph()
    change(graph)
    path = file.write(tmp_path / "a.pte", graph)
    with pytest.raises(ProgramError, match=message) as caught:
        Program(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_constants_are_no_target_of_updates(tmp_path):
    file = GraphFile(constants={"c": X}, inputs=[X], outputs=[X])
    file.chains[0].append(
        mlx_schema.SliceUpdateNode(
            dst=file.constant(0),
            update=file.input(0),
            out=file.output(0),
            axis=literal(0),
            start=literal(0),
            stop=literal(2),
        )
    )
    with pytest.raises(ProgramError, match="dst: expected a tensor that may be written"):
        Program(file.write(tmp_path / "a.pte"))


def test_init_chain_may_write_constants(tmp_path):
    file = GraphFile(chains=[[], []], constants={"c": X}, inputs=[X], outputs=[X], init_chain=1)
    file.chains[0].append(
        mlx_schema.AddNode(a=file.input(0), b=file.constant(0), out=file.output(0))
    )
    file.chains[1].append(mlx_schema.ExpNode(x=file.constant(0), out=file.constant(0)))
    assert Program(file.write(tmp_path / "a.pte")).node_counts()["ExpNode"] == 1


def nested(levels: int) -> GraphFile:
    """Both branches of every chain run the next chain: 2^levels paths."""
    file = GraphFile(chains=[[] for _ in range(levels + 1)], inputs=[X], outputs=[X])
    for chain in range(levels):
        following = chain + 1
        file.chains[chain].append(
            mlx_schema.IfNode(literal(1), then_chain_idx=following, else_chain_idx=following)
        )
    file.chains[levels].append(mlx_schema.IdCopyNode(x=file.input(0), out=file.output(0)))
    return file


def test_nesting_is_followed_to_64_levels(tmp_path):
    assert Program(nested(60).write(tmp_path / "a.pte")).node_counts()["IfNode"] == 60
    with pytest.raises(ProgramError, match="no recursion, 64 levels"):
        Program(nested(70).write(tmp_path / "a.pte"))
