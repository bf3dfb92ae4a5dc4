"""Elementwise nodes and products, against numpy."""

import numpy as np
import pytest

from backends.mlx.program import ProgramError
from backends.mlx.runner.testing import RNG, check, reals, run

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
