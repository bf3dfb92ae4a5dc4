"""Element-wise nodes and matrix products."""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.program.dtypes import scalar_type
from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import node

_UNARY = {
    "AbsNode": mx.abs,
    "ArccosNode": mx.arccos,
    "ArccoshNode": mx.arccosh,
    "ArcsinNode": mx.arcsin,
    "ArcsinhNode": mx.arcsinh,
    "ArctanNode": mx.arctan,
    "ArctanhNode": mx.arctanh,
    "BitwiseInvertNode": mx.bitwise_invert,
    "CeilNode": mx.ceil,
    "CosNode": mx.cos,
    "CoshNode": mx.cosh,
    "ErfNode": mx.erf,
    "ExpNode": mx.exp,
    "Expm1Node": mx.expm1,
    "FloorNode": mx.floor,
    "Log10Node": mx.log10,
    "Log1pNode": mx.log1p,
    "Log2Node": mx.log2,
    "LogNode": mx.log,
    "LogicalNotNode": mx.logical_not,
    "NegNode": mx.negative,
    "ReciprocalNode": mx.reciprocal,
    "RsqrtNode": mx.rsqrt,
    "SigmoidNode": mx.sigmoid,
    "SignNode": mx.sign,
    "SinNode": mx.sin,
    "SinhNode": mx.sinh,
    "SqrtNode": mx.sqrt,
    "SquareNode": mx.square,
    "TanNode": mx.tan,
    "TanhNode": mx.tanh,
}

_BINARY = {
    "AddNode": mx.add,
    "Atan2Node": mx.arctan2,
    "BitwiseAndNode": mx.bitwise_and,
    "BitwiseOrNode": mx.bitwise_or,
    "BitwiseXorNode": mx.bitwise_xor,
    "DivideNode": mx.divide,
    "EqualNode": mx.equal,
    "GreaterEqualNode": mx.greater_equal,
    "GreaterNode": mx.greater,
    "LessEqualNode": mx.less_equal,
    "LessNode": mx.less,
    "LogAddExpNode": mx.logaddexp,
    "LogicalAndNode": mx.logical_and,
    "LogicalOrNode": mx.logical_or,
    "MaximumNode": mx.maximum,
    "MinimumNode": mx.minimum,
    "MultiplyNode": mx.multiply,
    "NotEqualNode": mx.not_equal,
    "PowerNode": mx.power,
    "RemainderNode": mx.remainder,
    "SubtractNode": mx.subtract,
}


def _register_unary(name, function):
    node(name)(lambda run, n: run.set(n.out, function(run.tensor(n.x))))


def _register_binary(name, function):
    node(name)(lambda run, n: run.set(n.out, function(run.tensor(n.a), run.tensor(n.b))))


for _name, _function in _UNARY.items():
    _register_unary(_name, _function)
for _name, _function in _BINARY.items():
    _register_binary(_name, _function)


@node("TruncNode")
def trunc(run, n):
    x = run.tensor(n.x)
    run.set(n.out, mx.where(x < 0, mx.ceil(x), mx.floor(x)))


@node("RoundNode")
def round_(run, n):
    run.set(n.out, mx.round(run.tensor(n.x), n.decimals))


@node("FloorDivideNode")
def floor_divide(run, n):
    a, b = run.tensor(n.a), run.tensor(n.b)
    if not mx.issubdtype(a.dtype, mx.inexact):
        # MLX's integer quotient floors on the CPU and truncates on the GPU; where it is exact,
        # both agree.
        a = a - mx.remainder(a, b)
    run.set(n.out, mx.floor_divide(a, b))


@node("ClipNode")
def clip(run, n):
    bounds = run.optional_tensor(n.a_min), run.optional_tensor(n.a_max)
    run.set(n.out, mx.clip(run.tensor(n.x), *bounds))


@node("WhereNode")
def where(run, n):
    run.set(n.out, mx.where(run.tensor(n.condition), run.tensor(n.x), run.tensor(n.y)))


@node("AsTypeNode")
def as_type(run, n):
    run.set(n.out, run.tensor(n.x).astype(scalar_type(n.scalar_type, "scalar_type").mlx))


@node("IdCopyNode")
def id_copy(run, n):
    run.set(n.out, run.tensor(n.x))


@node("AddmmNode")
def addmm(run, n):
    a, b = run.tensor(n.mat1), run.tensor(n.mat2)
    if n.bias is not None:
        run.set(n.out, mx.addmm(run.tensor(n.bias), a, b, n.alpha, n.beta))
        return
    if n.alpha != 1.0:
        # ExecuTorch's runtime drops alpha here without a word.
        raise ProgramError("alpha without a bias", 1.0, n.alpha)
    run.set(n.out, mx.matmul(a, b))
