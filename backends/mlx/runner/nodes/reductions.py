"""Reductions, scans along an axis, and sorting.

An empty list of axes means all of them, but to LogSumExpNode none, as in ExecuTorch's C++.
"""

from __future__ import annotations

import mlx.core as mx

from backends.mlx.runner.registry import node

_REDUCTIONS = {
    "AllNode": mx.all,
    "AnyNode": mx.any,
    "MaxNode": mx.max,
    "MeanNode": mx.mean,
    "MedianNode": mx.median,
    "MinNode": mx.min,
    "ProdNode": mx.prod,
    "SumNode": mx.sum,
}
_SPREADS = {"StdNode": mx.std, "VarNode": mx.var}
_ARG_REDUCTIONS = {"ArgmaxNode": mx.argmax, "ArgminNode": mx.argmin}
_SORTS = {"SortNode": mx.sort, "ArgsortNode": mx.argsort}
_PARTITIONS = {"PartitionNode": mx.partition, "ArgPartitionNode": mx.argpartition}


def _register_reduction(name, function):
    @node(name)
    def reduce(run, n):
        run.set(n.out, function(run.tensor(n.x), axis=n.axes or None, keepdims=n.keepdims))


def _register_spread(name, function):
    @node(name)
    def spread(run, n):
        axes = n.axes or None
        run.set(n.out, function(run.tensor(n.x), axis=axes, keepdims=n.keepdims, ddof=n.ddof))


def _register_arg_reduction(name, function):
    @node(name)
    def arg_reduce(run, n):
        run.set(n.out, function(run.tensor(n.x), axis=n.axis, keepdims=n.keepdims))


def _register_sort(name, function):
    @node(name)
    def sort(run, n):
        run.set(n.out, function(run.tensor(n.x), axis=n.axis))


def _register_partition(name, function):
    @node(name)
    def partition(run, n):
        run.set(n.out, function(run.tensor(n.x), run.integer(n.kth), axis=n.axis))


for _register, _functions in (
    (_register_reduction, _REDUCTIONS),
    (_register_spread, _SPREADS),
    (_register_arg_reduction, _ARG_REDUCTIONS),
    (_register_sort, _SORTS),
    (_register_partition, _PARTITIONS),
):
    for _name, _function in _functions.items():
        _register(_name, _function)


@node("LogSumExpNode")
def logsumexp(run, n):
    run.set(n.out, mx.logsumexp(run.tensor(n.x), axis=list(n.axes), keepdims=n.keepdims))


@node("CumsumNode")
def cumsum(run, n):
    x = run.tensor(n.x)
    run.set(n.out, mx.cumsum(x, axis=n.axis, reverse=n.reverse, inclusive=n.inclusive))
