"""Neural-network nodes: activations, normalisation, rotary embedding, attention."""

from __future__ import annotations

import math

import mlx.core as mx

from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.registry import node


@node("SiluNode")
def silu(run, n):
    x = run.tensor(n.x)
    run.set(n.out, x * mx.sigmoid(x))


@node("GeluNode")
def gelu(run, n):
    """GELU, or with `tanh` its approximation (Hendrycks and Gimpel, arXiv:1606.08415)."""
    x = run.tensor(n.x)

    def constant(value: float) -> mx.array:
        return mx.array(value, x.dtype)

    if n.approximate == "tanh":
        inner = x + constant(0.044715) * (x * x * x)
        curve = mx.tanh(constant(math.sqrt(2 / math.pi)) * inner)
    elif n.approximate == "none":
        curve = mx.erf(constant(math.sqrt(0.5)) * x)
    else:
        raise ProgramError("approximate", "'none' or 'tanh'", repr(n.approximate))
    run.set(n.out, constant(0.5) * x * (constant(1) + curve))


@node("SoftmaxNode")
def softmax(run, n):
    run.set(n.out, mx.softmax(run.tensor(n.x), axis=n.axis, precise=n.precise))


@node("RMSNormNode")
def rms_norm(run, n):
    run.set(n.out, mx.fast.rms_norm(run.tensor(n.x), run.optional_tensor(n.weight), n.eps))


@node("LayerNormNode")
def layer_norm(run, n):
    weight, bias = run.optional_tensor(n.weight), run.optional_tensor(n.bias)
    run.set(n.out, mx.fast.layer_norm(run.tensor(n.x), weight, bias, n.eps))


@node("RopeNode")
def rope(run, n):
    frequencies = run.optional_tensor(n.freqs)
    rotated = mx.fast.rope(
        run.tensor(n.x),
        n.dims,
        traditional=n.traditional,
        # MLX wants exactly one of the two.
        base=n.base if frequencies is None else None,
        scale=n.scale,
        offset=run.int_or_tensor(n.offset),
        freqs=frequencies,
    )
    run.set(n.out, rotated)


@node("SdpaNode")
def sdpa(run, n):
    query, mask = run.tensor(n.q), run.optional_tensor(n.mask)
    if n.causal and mask is not None:
        raise ProgramError("attention", "a mask or causal, not both", "both")
    if mask is not None and mask.dtype != mx.bool_:
        mask = mask.astype(query.dtype)
    attended = mx.fast.scaled_dot_product_attention(
        query, run.tensor(n.k), run.tensor(n.v), scale=n.scale, mask="causal" if n.causal else mask
    )
    run.set(n.out, attended)


# Convolutions, with MLX's layouts: x (N, ..., C), weight (O, ..., C / groups).
_AXES = {1: ("",), 2: ("_h", "_w"), 3: ("_d", "_h", "_w")}
_CONVOLUTIONS = {1: mx.conv1d, 2: mx.conv2d, 3: mx.conv3d}
_TRANSPOSED = {1: mx.conv_transpose1d, 2: mx.conv_transpose2d, 3: mx.conv_transpose3d}


def _sizes(n, field: str, rank: int):
    """The node's per-axis fields, as MLX takes them: an int for one axis, else a tuple."""
    sizes = tuple(getattr(n, field + suffix) for suffix in _AXES[rank])
    return sizes[0] if rank == 1 else sizes


def _register(name: str, function, rank: int, fields: tuple[str, ...]):
    @node(name)
    def convolve(run, n):
        if n.groups < 1:
            # MLX divides by it.
            raise ProgramError("groups", "1 or more", n.groups)
        sizes = {field: _sizes(n, field, rank) for field in fields}
        run.set(n.out, function(run.tensor(n.x), run.tensor(n.w), groups=n.groups, **sizes))


_FIELDS = ("stride", "padding", "dilation")
for _rank in _AXES:
    _register(f"Conv{_rank}DNode", _CONVOLUTIONS[_rank], _rank, _FIELDS)
    _register(f"ConvTranspose{_rank}DNode", _TRANSPOSED[_rank], _rank, (*_FIELDS, "output_padding"))
