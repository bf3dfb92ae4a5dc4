"""Node functions one by one, on hand-made graphs, against numpy."""

import numpy as np
import pytest

from backends.mlx.runner import ProgramError, Runner
from backends.mlx.runner.nodes import FUNCTIONS
from backends.mlx.runner.testing import GraphFile, IntOrVid, Vid, mlx_schema

RNG = np.random.default_rng(0)
literal, slot = IntOrVid.from_literal, lambda index: IntOrVid.from_vid(Vid(index))
# ExecuTorch's off-graph cache and MLX's random bits need state that a .pte does not hold.
UNSUPPORTED = {"UpdateAndAttendNode", "RandomBitsNode"}


def run(tmp_path, node, inputs, expected, **fields):
    """Runs one node whose operands are `inputs` (field to array), returns its `out`."""
    arrays = list(inputs.values())
    file = GraphFile(inputs=arrays, outputs=[expected])
    operands = {name: file.input(index) for index, name in enumerate(inputs)}
    node = getattr(mlx_schema, node)(**operands, out=file.output(0), **fields)
    file.chains[0].append(node)
    return np.array(Runner(file.write(tmp_path / "a.pte"))(*arrays)[0])


def check(tmp_path, node, inputs, expected, tolerance=1e-5, **fields):
    expected = np.asarray(expected)
    actual = run(tmp_path, node, inputs, expected, **fields)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def reals(*shape) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_every_node_of_the_schema_has_a_function():
    names = mlx_schema.OpNodeUnion.__args__
    assert {item.__name__ for item in names} - set(FUNCTIONS) == UNSUPPORTED


UNARY = {
    "AbsNode": np.abs, "CeilNode": np.ceil, "CosNode": np.cos, "CoshNode": np.cosh,
    "ExpNode": np.exp, "Expm1Node": np.expm1, "FloorNode": np.floor, "NegNode": np.negative,
    "ReciprocalNode": np.reciprocal, "SignNode": np.sign, "SinNode": np.sin, "SinhNode": np.sinh,
    "SquareNode": np.square, "TanNode": np.tan, "TanhNode": np.tanh, "TruncNode": np.trunc,
    "ArctanNode": np.arctan, "ArcsinhNode": np.arcsinh,
    "SigmoidNode": lambda x: 1 / (1 + np.exp(-x)), "SiluNode": lambda x: x / (1 + np.exp(-x)),
    "IdCopyNode": np.copy, "ContiguousNode": np.copy,
}  # fmt: skip
UNARY_POSITIVE = {
    "LogNode": np.log, "Log2Node": np.log2, "Log10Node": np.log10, "Log1pNode": np.log1p,
    "SqrtNode": np.sqrt, "RsqrtNode": lambda x: 1 / np.sqrt(x), "ArccosNode": np.arccos,
    "ArcsinNode": np.arcsin, "ArctanhNode": np.arctanh,
    "ArccoshNode": None,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(tmp_path, name):
    x = reals(3, 5)
    check(tmp_path, name, {"x": x}, UNARY[name](x))


@pytest.mark.parametrize("name", UNARY_POSITIVE)
def test_unary_on_positive_numbers(tmp_path, name):
    x = RNG.uniform(0.1, 0.9, size=(3, 5)).astype(np.float32)
    if name == "ArccoshNode":
        check(tmp_path, name, {"x": x + 1}, np.arccosh(x + 1), tolerance=1e-4)
    else:
        check(tmp_path, name, {"x": x}, UNARY_POSITIVE[name](x))


BINARY = {
    "AddNode": np.add, "SubtractNode": np.subtract, "MultiplyNode": np.multiply,
    "DivideNode": np.divide, "MaximumNode": np.maximum, "MinimumNode": np.minimum,
    "LessNode": np.less, "LessEqualNode": np.less_equal, "GreaterNode": np.greater,
    "GreaterEqualNode": np.greater_equal, "EqualNode": np.equal, "NotEqualNode": np.not_equal,
    "Atan2Node": np.arctan2, "LogAddExpNode": np.logaddexp, "RemainderNode": np.mod,
    "FloorDivideNode": np.floor_divide,
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasts(tmp_path, name):
    a, b = reals(3, 1, 5), reals(4, 1)
    a[0, 0, 0] = b[0, 0]
    check(tmp_path, name, {"a": a, "b": b}, BINARY[name](a, b))


@pytest.mark.parametrize(
    "name, function",
    [
        ("BitwiseAndNode", np.bitwise_and),
        ("BitwiseOrNode", np.bitwise_or),
        ("BitwiseXorNode", np.bitwise_xor),
        ("FloorDivideNode", np.floor_divide),
        ("RemainderNode", np.mod),
    ],
)
def test_binary_on_ints(tmp_path, name, function):
    a = np.array([7, -7, 7, -7, 6, -6], np.int32)
    b = np.array([2, 2, -2, -2, 3, -3], np.int32)
    check(tmp_path, name, {"a": a, "b": b}, function(a, b))


@pytest.mark.parametrize(
    "name, function", [("LogicalAndNode", np.logical_and), ("LogicalOrNode", np.logical_or)]
)
def test_logic(tmp_path, name, function):
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    check(tmp_path, name, {"a": a, "b": b}, function(a, b))
    check(tmp_path, "LogicalNotNode", {"x": a}, ~a)
    check(tmp_path, "BitwiseInvertNode", {"x": a.astype(np.int32)}, ~a.astype(np.int32))


def test_power_round_clip_where_cast(tmp_path):
    x, y = reals(3, 4), reals(3, 4)
    check(tmp_path, "PowerNode", {"a": np.abs(x), "b": y}, np.abs(x) ** y)
    check(tmp_path, "RoundNode", {"x": x}, np.round(x, 1), decimals=1)
    low, high = np.float32(-0.5), np.float32(0.5)
    bounds = {"a_min": np.array(low), "a_max": np.array(high)}
    check(tmp_path, "ClipNode", {"x": x} | bounds, np.clip(x, low, high))
    check(tmp_path, "WhereNode", {"condition": x > 0, "x": x, "y": y}, np.where(x > 0, x, y))
    check(tmp_path, "AsTypeNode", {"x": x * 9}, (x * 9).astype(np.int32), scalar_type=3)


def test_addmm(tmp_path):
    a, b, bias = reals(3, 4), reals(4, 2), reals(2)
    operands = {"mat1": a, "mat2": b}
    check(tmp_path, "AddmmNode", operands, a @ b)
    both = operands | {"bias": bias}
    check(tmp_path, "AddmmNode", both, 2 * (a @ b) + 0.5 * bias, alpha=2.0, beta=0.5)
    with pytest.raises(ProgramError, match="alpha without a bias: expected 1.0, found 2"):
        run(tmp_path, "AddmmNode", operands, a @ b, alpha=2.0)


@pytest.mark.parametrize(
    "name, function",
    [
        ("SumNode", np.sum),
        ("MeanNode", np.mean),
        ("ProdNode", np.prod),
        ("MaxNode", np.max),
        ("MinNode", np.min),
        ("LogSumExpNode", lambda x, axis, keepdims: np.log(np.exp(x).sum(axis, keepdims=keepdims))),
        ("MedianNode", np.median),
    ],
)
@pytest.mark.parametrize("axes, keepdims", [([], False), ([1], True), ([0, -1], False)])
def test_reductions(tmp_path, name, function, axes, keepdims):
    x = reals(3, 4, 5)
    expected = np.float32(function(x, axis=tuple(axes) or None, keepdims=keepdims))
    check(tmp_path, name, {"x": x}, expected, axes=axes, keepdims=keepdims)


def test_spreads_and_arguments(tmp_path):
    x = reals(3, 7)
    for name, function in (("VarNode", np.var), ("StdNode", np.std)):
        check(tmp_path, name, {"x": x}, function(x, axis=1, ddof=1), axes=[1], ddof=1)
    for name, function in (("ArgmaxNode", np.argmax), ("ArgminNode", np.argmin)):
        check(tmp_path, name, {"x": x}, function(x, axis=1).astype(np.uint32), axis=1)
    for name, function in (("AnyNode", np.any), ("AllNode", np.all)):
        check(tmp_path, name, {"x": x > 0}, function(x > 0, axis=0), axes=[0])
    check(tmp_path, "SortNode", {"x": x}, np.sort(x, axis=1), axis=1)
    check(tmp_path, "ArgsortNode", {"x": x}, np.argsort(x, axis=1).astype(np.uint32), axis=1)
    check(tmp_path, "CumsumNode", {"x": x}, np.cumsum(x, axis=1), axis=1)
    middle = run(tmp_path, "PartitionNode", {"x": x}, x, kth=literal(3), axis=1)[:, 3]
    np.testing.assert_array_equal(middle, np.sort(x, axis=1)[:, 3])
    chosen = run(
        tmp_path, "ArgPartitionNode", {"x": x}, x.astype(np.uint32), kth=literal(3), axis=1
    )
    np.testing.assert_array_equal(x[np.arange(3), chosen[:, 3]], np.sort(x, axis=1)[:, 3])


SHAPES = [
    ("ReshapeNode", dict(shape=[literal(3), literal(-1)]), lambda x: x.reshape(3, 8)),
    ("TransposeNode", dict(perm=[2, 0, 1]), lambda x: x.transpose(2, 0, 1)),
    ("ExpandDimsNode", dict(axis=-1), lambda x: x[..., None]),
    ("TileNode", dict(reps=[literal(2), literal(1), literal(3)]), lambda x: np.tile(x, (2, 1, 3))),
    ("RepeatNode", dict(repeats=literal(2), axis=1), lambda x: np.repeat(x, 2, 1)),
    (
        "BroadcastToNode",
        dict(shape=[literal(5), literal(-1), literal(3), literal(-1)]),
        lambda x: np.broadcast_to(x, (5, 2, 3, 4)),
    ),
    ("SqueezeNode", dict(dims=[0, 1]), lambda x: x),
    ("FlipNode", dict(axes=[0, -1]), lambda x: x[::-1, :, ::-1]),
    ("RollNode", dict(shift=[literal(1)], axes=[2]), lambda x: np.roll(x, 1, 2)),
    (
        "PadNode",
        dict(pad_width=[literal(i) for i in (0, 0, 1, 2, 0, 1)], mode="constant",
             constant_value=7.0),
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=7),
    ),
    (
        "PadNode",
        dict(pad_width=[literal(i) for i in (0, 0, 1, 2, 0, 1)], mode="edge"),
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 1)), mode="edge"),
    ),
    (
        "AsStridedNode",
        dict(shape=[literal(3), literal(2)], strides=[literal(4), literal(2)], offset=5),
        lambda x: np.array([[5, 7], [9, 11], [13, 15]], np.float32),
    ),
    ("TrilNode", dict(k=1), lambda x: np.tril(x, 1)),
    ("TriuNode", dict(k=1), lambda x: np.triu(x, 1)),
    ("SliceNode", dict(axis=literal(-1), start=literal(-3), stop=literal(2**62)),
     lambda x: x[..., -3:]),
    ("SliceNode", dict(axis=literal(1), start=literal(0), stop=literal(3), step=2),
     lambda x: x[:, 0:3:2]),
    ("FullLikeNode", dict(v=mlx_schema.FloatOrVid.from_literal(2.5)),
     lambda x: np.full_like(x, 2.5)),
]  # fmt: skip


@pytest.mark.parametrize("name, fields, function", SHAPES, ids=[name for name, _, _ in SHAPES])
def test_shapes(tmp_path, name, fields, function):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    check(tmp_path, name, {"x": x}, function(x), **fields)


def test_squeeze_of_all_axes(tmp_path):
    x = reals(1, 3, 1)
    check(tmp_path, "SqueezeNode", {"x": x}, x[0, :, 0], dims=[])
    check(tmp_path, "SqueezeNode", {"x": x}, x[0], dims=[0, 1])


def test_as_strided_stays_inside_its_source(tmp_path):
    x = reals(2, 3)
    fields = dict(shape=[literal(2), literal(3)], strides=[literal(3), literal(1)], offset=1)
    with pytest.raises(ProgramError, match="strided view: expected elements below 6, found 6"):
        run(tmp_path, "AsStridedNode", {"x": x}, x, **fields)


def test_creation(tmp_path):
    full = dict(shape=[literal(2), literal(3)], v=mlx_schema.FloatOrVid.from_literal(1.5))
    check(tmp_path, "FullNode", {}, np.full((2, 3), 1.5, np.float16), **full, scalar_type=5)
    steps = dict(start=literal(5), stop=literal(-4), step=literal(-3))
    check(tmp_path, "ARangeNode", {}, np.arange(5, -4, -3, np.int64), **steps, scalar_type=4)
    tri = dict(n=literal(3), m=literal(4), k=-1, scalar_type=6)
    check(tmp_path, "TriNode", {}, np.tri(3, 4, -1, np.float32), **tri)


def several(tmp_path, node, arrays, outputs):
    file = GraphFile(inputs=arrays, outputs=outputs)
    slots = [file.input(index) for index in range(len(arrays))]
    outs = [file.output(index) for index in range(len(outputs))]
    file.chains[0].append(node(slots, outs))
    return [np.array(out) for out in Runner(file.write(tmp_path / "a.pte"))(*arrays)]


def test_lists_of_tensors(tmp_path):
    a, b = reals(2, 3), reals(2, 3)
    for name, function in (("ConcatenateNode", np.concatenate), ("StackNode", np.stack)):
        (joined,) = several(
            tmp_path,
            lambda ins, outs, name=name: getattr(mlx_schema, name)(
                tensors=ins, out=outs[0], axis=1
            ),
            [a, b],
            [function([a, b], axis=1)],
        )
        np.testing.assert_array_equal(joined, function([a, b], axis=1))


@pytest.mark.parametrize("sizes, ends", [([3], [3, 6]), ([1, 4, 2], [1, 5])])
def test_split(tmp_path, sizes, ends):
    x = reals(2, 7)
    expected = np.split(x, ends, axis=1)
    parts = several(
        tmp_path,
        lambda ins, outs: mlx_schema.SplitNode(
            x=ins[0], outs=outs, sizes=[literal(size) for size in sizes], axis=-1
        ),
        [x],
        expected,
    )
    for part, want in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(part, want)


def test_indexing(tmp_path):
    x = reals(4, 5)
    rows = np.array([[3, 0], [-1, 2]], np.int32)
    operand = mlx_schema.IntOrVidOrTid
    index = operand.from_tid(mlx_schema.Tid(1))
    expected = x[rows]
    file = GraphFile(inputs=[x, rows], outputs=[expected])
    file.chains[0].append(
        mlx_schema.TakeNode(x=file.input(0), out=file.output(0), index=index, axis=0)
    )
    runner = Runner(file.write(tmp_path / "a.pte"))
    np.testing.assert_array_equal(np.array(runner(x, rows)[0]), expected)
    for bad in (4, -5):
        with pytest.raises(ProgramError, match=f"TakeNode: index: expected -4 to 3, found {bad}"):
            runner(x, np.full_like(rows, bad))
    check(tmp_path, "TakeNode", {"x": x}, x[:, -2], index=operand.from_literal(-2), axis=1)
    columns = np.array([[4, 0], [1, 1], [-1, 2], [3, 3]], np.int64)
    along = np.take_along_axis(x, columns, 1)
    check(tmp_path, "TakeAlongAxisNode", {"x": x, "indices": columns}, along, axis=1)


def test_gather_of_two_axes(tmp_path):
    x = reals(4, 5, 6)
    i, j = np.array([3, 0, 1], np.int64), np.array([5, -1, 2], np.int64)
    expected = x[i, :, j][:, None, :, None]
    (rows,) = several(
        tmp_path,
        lambda ins, outs: mlx_schema.GatherNode(
            x=ins[0], indices=ins[1:], out=outs[0], axes=[0, 2], slice_sizes=[1, 5, 1]
        ),
        [x, i, j],
        [expected],
    )
    np.testing.assert_array_equal(rows, expected)


def test_scatter_add_accumulates(tmp_path):
    x, updates = reals(4, 3), reals(3, 2)
    indices = np.array([[0, 3], [0, 3], [1, 0]], np.int64)
    expected = x.copy()
    np.add.at(expected, (indices, np.arange(2)), updates)
    operands = {"x": x, "indices": indices, "updates": updates}
    check(tmp_path, "ScatterAddNode", operands, expected, axis=0)


def test_slice_update(tmp_path):
    target, update = reals(2, 6), reals(2, 2)
    expected = target.copy()
    expected[:, 1:5:2] = update
    fields = dict(axis=literal(-1), start=literal(-5), stop=literal(5), step=2)
    check(tmp_path, "SliceUpdateNode", {"dst": target, "update": update}, expected, **fields)
    empty = dict(axis=literal(1), start=literal(9), stop=literal(9))
    check(tmp_path, "SliceUpdateNode", {"dst": target, "update": update}, target, **empty)


def test_index_copy_into_a_mutable_buffer(tmp_path):
    buffer, update = np.zeros((5, 3), np.float32), reals(2, 3)
    positions = np.array([4, -4], np.int64)
    file = GraphFile(inputs=[update, positions], outputs=[buffer], mutable=[buffer])
    file.chains[0] += [
        mlx_schema.IndexCopyNode(
            dst=file.buffer(0),
            update=file.input(0),
            indices=file.input(1),
            out=file.buffer(0),
            axis=0,
        ),
        mlx_schema.IdCopyNode(x=file.buffer(0), out=file.output(0)),
    ]
    runner = Runner(file.write(tmp_path / "a.pte"))
    expected = buffer.copy()
    for where in (positions, np.array([0, 1], np.int64)):
        expected[where] = update
        np.testing.assert_array_equal(np.array(runner(update, where)[0]), expected)
    runner.reset()
    expected[:] = 0
    expected[positions] = update
    np.testing.assert_array_equal(np.array(runner(update, positions)[0]), expected)
    with pytest.raises(ProgramError, match="index: expected -5 to 4, found 5"):
        runner(update, np.array([0, 5], np.int64))


@pytest.mark.parametrize(
    "name, function",
    [
        ("AddIntNode", lambda a, b: a + b),
        ("SubtractIntNode", lambda a, b: a - b),
        ("MultiplyIntNode", lambda a, b: a * b),
        ("FloorDivideIntNode", lambda a, b: a // b),
        ("ModIntNode", lambda a, b: a % b),
    ],
)
def test_ints(tmp_path, name, function):
    file = GraphFile(outputs=[np.zeros(1, np.int64)], values=3, int_inputs=2)
    file.chains[0] += [
        getattr(mlx_schema, name)(a=slot(0), b=slot(1), out=Vid(2)),
        mlx_schema.FullNode(
            out=file.output(0),
            shape=[literal(1)],
            v=mlx_schema.FloatOrVid.from_vid(Vid(2)),
            scalar_type=4,
        ),
    ]
    runner = Runner(file.write(tmp_path / "a.pte"))
    for a, b in ((7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (-1, 5)):
        assert runner(a, b)[0].item() == function(a, b)
    if name in ("FloorDivideIntNode", "ModIntNode"):
        with pytest.raises(ProgramError, match=f"{name}: divisor: expected not 0"):
            runner(7, 0)
    else:
        with pytest.raises(ProgramError, match=f"{name}: result: expected a 32-bit int, found"):
            runner(-(2**31), 2**31 - 1 if name != "AddIntNode" else -1)
    with pytest.raises(ProgramError, match="input 1: expected a 32-bit int, found 2147483648"):
        runner(1, 2**31)
    with pytest.raises(ProgramError, match="input 0: expected an int, found str"):
        runner("1", 1)


def test_scan_stacks_what_its_body_writes(tmp_path):
    x = reals(2, 3, 4)
    expected = np.cumsum(x, axis=1)
    file = GraphFile(chains=[[], []], inputs=[x], outputs=[expected], temps=3)
    state, step, total = file.temp(0), file.temp(1), file.output(0)
    file.chains[0] += [
        mlx_schema.FullNode(
            out=state,
            shape=[literal(2), literal(4)],
            v=mlx_schema.FloatOrVid.from_literal(0.0),
            scalar_type=6,
        ),
        mlx_schema.ScanNode(
            originals=[file.input(0)], sliced=[step], outputs=[total], carry=[state],
            body_chain_idx=1, scan_axis=1,
        ),
    ]  # fmt: skip
    file.chains[1] += [
        mlx_schema.AddNode(a=state, b=step, out=state),
        mlx_schema.IdCopyNode(x=state, out=total),
    ]
    (out,) = Runner(file.write(tmp_path / "a.pte"))(x)
    np.testing.assert_allclose(np.array(out), expected, rtol=1e-6)


def test_convolutions(tmp_path):
    x, w = reals(1, 9, 2), reals(3, 4, 2)
    padded = np.pad(x[0], ((1, 1), (0, 0)))
    expected = np.stack(
        [np.einsum("kc,okc->o", padded[at : at + 4], w) for at in range(0, 8, 2)]
    )[None]
    check(tmp_path, "Conv1DNode", {"x": x, "w": w}, expected, stride=2, padding=1)
    image, kernel = reals(1, 4, 4, 2), reals(3, 1, 1, 2)
    products = np.einsum("nhwc,oc->nhwo", image, kernel[:, 0, 0])
    check(tmp_path, "Conv2DNode", {"x": image, "w": kernel}, products)
    check(tmp_path, "ConvTranspose2DNode", {"x": image, "w": kernel}, products)
    cube = image[:, None]
    check(tmp_path, "Conv3DNode", {"x": cube, "w": kernel[:, None]}, products[:, None])


def test_unsupported_node_is_named(tmp_path):
    file = GraphFile(outputs=[np.zeros(2, np.uint32)])
    file.chains[0].append(mlx_schema.RandomBitsNode(out=file.output(0), shape=[literal(2)]))
    path = file.write(tmp_path / "a.pte")
    with pytest.raises(ProgramError) as caught:
        Runner(path)
    assert str(caught.value) == (
        f"{path}: chain 0 instruction 0 RandomBitsNode: "
        "expected a node that the runner supports, found RandomBitsNode"
    )


def test_operands_that_mlx_refuses_name_the_instruction(tmp_path):
    a, b = reals(2, 3), reals(4, 5)
    with pytest.raises(ProgramError, match="chain 0 instruction 0 AddNode: expected operands"):
        run(tmp_path, "AddNode", {"a": a, "b": b}, a)
