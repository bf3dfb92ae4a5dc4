"""Neural-network nodes: activations, normalisation, rotary embedding, attention."""

from __future__ import annotations

import math

import mlx.core as mx

from backends.mlx.program.errors import ProgramError
from backends.mlx.runner.nodes.registry import node


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
