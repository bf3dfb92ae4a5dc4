"""What ExecuTorch's MLX operators for language models become, against eager modules.

Rotary embedding, attention over a cache, caches that are written in place (also as rings), tied
embeddings, and facts about the model that travel as methods and named data.
"""

import executorch.backends.mlx.custom_ops  # noqa: F401  (defines torch.ops.mlx)
import mlx.core as mx
import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from backends.mlx.program.testing import export
from backends.mlx.runner import Runner

ops = torch.ops.mlx
torch.manual_seed(0)
CACHE, RING = 16, 4


def start_of(positions: torch.Tensor) -> int:
    start = positions[0].item()
    torch._check(start >= 0)
    torch._check(start < CACHE)
    return start


class Model(nn.Module):
    """A decoder of one layer: grouped heads, cache, the table of the embedding as the head."""

    def __init__(self, heads=4, groups=2, size=8, vocabulary=11):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, size
        width = heads * size
        self.embed = nn.Embedding(vocabulary, width)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * groups * size, bias=False)
        self.norm = nn.RMSNorm(width)
        shape = (1, groups, CACHE, size)
        self.register_buffer("keys", torch.zeros(shape), persistent=False)
        self.register_buffer("values", torch.zeros(shape), persistent=False)

    def forward(self, tokens, positions):
        start = start_of(positions)
        torch._check(start + tokens.shape[1] <= CACHE)
        x = self.embed(tokens)

        def split(y):
            return y.view(*y.shape[:2], -1, self.size).transpose(1, 2)

        h = self.norm(x)
        q = ops.rope(split(self.q(h)), self.size, start, False, 100.0)
        k, v = split(self.kv(h)).chunk(2, dim=1)
        k = ops.rope(k, self.size, start, False, 100.0)
        ops.kv_cache_update(self.keys, k, start)
        ops.kv_cache_update(self.values, v, start)
        y = ops.custom_sdpa(q, self.keys, self.values, start, None, 0.0, True)
        x = x + y.transpose(1, 2).flatten(-2)
        return nn.functional.linear(x, self.embed.weight)


def call(runner, *inputs) -> np.ndarray:
    return np.array(runner(*inputs)[0])


def test_prefill_and_decode_agree_with_eager(tmp_path):
    model = Model().eval()
    tokens = torch.randint(0, 11, (1, CACHE))
    rows = Dim("rows", min=1, max=CACHE)
    export(tmp_path / "a.pte", model, (tokens[:, :5], torch.arange(5)), ({1: rows}, {0: rows}))
    with torch.no_grad():
        model.keys.zero_(), model.values.zero_()
        want = model(tokens, torch.arange(CACHE)).numpy()
    runner = Runner(tmp_path / "a.pte")
    # The table is stored once for the embedding and the head.
    shapes = [shape for shape, *_ in runner.program.constants().values()]
    assert shapes.count((11, 32)) == 1
    for _ in range(2):
        start = 0
        for count in (6, 1, 1, 3, 5):
            at = slice(start, start + count)
            have = call(runner, tokens[:, at], torch.arange(CACHE)[at])
            np.testing.assert_allclose(have, want[:, at], rtol=1e-4, atol=3e-4)
            start += count
        runner.reset()


class Ring(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("rows", torch.zeros(1, 2, RING, 3), persistent=False)

    def forward(self, update, positions):
        ops.kv_cache_update(self.rows, update, start_of(positions), RING)
        return self.rows * 2


def test_ring_buffer_wraps_around(tmp_path):
    model = Ring()
    rows = Dim("rows", min=1, max=RING)
    updates = torch.randn(1, 2, 13, 3)
    example = (torch.randn(1, 2, 3, 3), torch.arange(3))
    export(tmp_path / "a.pte", model, example, ({2: rows}, {0: rows}))
    runner = Runner(tmp_path / "a.pte")
    model.rows.zero_()
    start = 0
    for count in (3, 1, 4, 2, 3):
        at = slice(start, start + count)
        inputs = updates[:, :, at], torch.arange(13)[at]
        np.testing.assert_array_equal(call(runner, *inputs), model(*inputs).numpy())
        start += count


class Rope(nn.Module):
    def __init__(self, dims, traditional, frequencies):
        super().__init__()
        self.dims, self.traditional = dims, traditional
        self.register_buffer("frequencies", frequencies)

    def forward(self, x, positions):
        start = start_of(positions)
        return ops.rope(x, self.dims, start, self.traditional, 100.0, 0.5, self.frequencies)


@pytest.mark.parametrize("frequencies", [False, True])
@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("dims", [6, 8])
def test_rope(tmp_path, dims, traditional, frequencies):
    freqs = 10.0 ** torch.linspace(0, 1, dims // 2) if frequencies else None
    model = Rope(dims, traditional, freqs)
    x = torch.randn(1, 2, 3, 8)
    export(tmp_path / "a.pte", model, (x, torch.arange(3)))
    runner = Runner(tmp_path / "a.pte")
    for start in (0, 7):
        inputs = x, torch.arange(start, start + 3)
        np.testing.assert_allclose(
            call(runner, *inputs), model(*inputs).numpy(), rtol=1e-4, atol=1e-5
        )


def test_a_step_does_not_copy_the_cache(tmp_path):
    export(tmp_path / "a.pte", Ring(), (torch.randn(1, 2, 1, 3), torch.arange(1)))
    runner = Runner(tmp_path / "a.pte")

    def where() -> int:
        (buffer,) = runner._interpreters[0]._mutable.values()
        return np.asarray(memoryview(buffer)).ctypes.data

    runner(torch.randn(1, 2, 1, 3), torch.arange(1))
    place = where()
    for position in range(1, 6):
        runner(torch.randn(1, 2, 1, 3), torch.tensor([position]))
        assert where() == place


def test_inputs_may_be_of_numpy_or_mlx(tmp_path):
    export(tmp_path / "a.pte", Ring(), (torch.randn(1, 2, 1, 3), torch.arange(1)))
    runner = Runner(tmp_path / "a.pte")
    update, position = np.ones((1, 2, 1, 3), np.float32), np.array([2], np.int64)
    first = call(runner, update, position)
    runner.reset()
    np.testing.assert_array_equal(call(runner, mx.array(update), mx.array(position)), first)
    assert first[0, 0, :, 0].tolist() == [0.0, 0.0, 2.0, 0.0]
