"""The order in which the mode is found, and what the `.pte` holds in each mode."""

import logging

import pytest
import torch
from executorch.backends.mlx.partitioner import MLXPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import nn

import backends.mlx.gguf.patterns  # noqa: F401
from backends.mlx.gguf.lowering import AffineDtype, Mode, export_module, mode, use_mode
from backends.mlx.gguf.lowering.testing import Exported, embedding, linear, quantize, random

BLOCKS = quantize("Q4_K", 5, 256)
X = random((1, 256), torch.float32)


@pytest.fixture(autouse=True)
def no_outside_mode(monkeypatch, tmp_path):
    """No environment variable and no built value, whatever this test was built with."""
    monkeypatch.delenv(mode.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(mode, "BUILD_MODE_FILE", tmp_path / "build_mode.txt")


def nodes(**kwargs):
    exported = export_module(linear(BLOCKS, "Q4_K", torch.float32), (X,), **kwargs)
    return Exported(exported).nodes()


def test_fused_by_default():
    assert mode.resolve() is Mode.FUSED


@pytest.mark.parametrize("content, expected", [("fused\n", Mode.FUSED), ("repack", Mode.REPACK)])
def test_built_value(content, expected):
    mode.BUILD_MODE_FILE.write_text(content)
    assert mode.resolve() is expected


def test_unknown_built_value():
    mode.BUILD_MODE_FILE.write_text("both")
    with pytest.raises(ValueError, match="build_mode.txt: expected fused or repack, found 'both'"):
        mode.resolve()


@pytest.mark.parametrize("value, expected", [("1", Mode.FUSED), ("0", Mode.REPACK)])
def test_environment_beats_the_built_value(monkeypatch, value, expected):
    mode.BUILD_MODE_FILE.write_text("repack" if expected is Mode.FUSED else "fused")
    monkeypatch.setenv(mode.ENVIRONMENT_VARIABLE, value)
    assert mode.resolve() is expected


@pytest.mark.parametrize("value", ["", "2", "true", "fused"])
def test_unknown_environment(monkeypatch, value):
    monkeypatch.setenv(mode.ENVIRONMENT_VARIABLE, value)
    with pytest.raises(ValueError, match=r"expected 1 \(fused\) or 0 \(repack\)"):
        mode.resolve()


@pytest.mark.parametrize("value", ["repack", Mode.REPACK])
def test_argument_beats_the_environment(monkeypatch, value):
    monkeypatch.setenv(mode.ENVIRONMENT_VARIABLE, "1")
    assert mode.resolve(value) is Mode.REPACK
    assert nodes(mode=value) == {"QuantizedMatmulNode": 1}


@pytest.mark.parametrize("value", ["both", 0, True])
def test_unknown_argument(value):
    with pytest.raises(ValueError, match="mode: expected fused or repack, found"):
        mode.resolve(value)
    message = "affine_dtype: expected activation or float32, found"
    with pytest.raises(ValueError, match=message), use_mode(affine_dtype=value):
        pass


def test_export_follows_the_environment(monkeypatch):
    monkeypatch.setenv(mode.ENVIRONMENT_VARIABLE, "0")
    assert nodes() == {"QuantizedMatmulNode": 1}
    monkeypatch.setenv(mode.ENVIRONMENT_VARIABLE, "1")
    assert nodes() == {"MetalKernelNode": 1}


def test_wrong_environment_fails_the_export(monkeypatch, tmp_path):
    monkeypatch.setenv(mode.ENVIRONMENT_VARIABLE, "yes")
    with pytest.raises(ValueError, match=mode.ENVIRONMENT_VARIABLE):
        nodes(path=tmp_path / "model.pte")
    assert list(tmp_path.iterdir()) == []


def lower(module, x):
    """The plain ExecuTorch calls, without `export_module`."""
    program = torch.export.export(module, (x,))
    edge = to_edge_transform_and_lower(program, partitioner=[MLXPartitioner()])
    return Exported(edge.to_executorch().buffer)


def test_use_mode_around_the_partitioner(monkeypatch):
    monkeypatch.setenv(mode.ENVIRONMENT_VARIABLE, "1")
    module = linear(BLOCKS, "Q4_K", torch.float32)
    with use_mode("repack"):
        assert lower(module, X).nodes() == {"QuantizedMatmulNode": 1}
    assert lower(module, X).nodes() == {"MetalKernelNode": 1}


def test_inner_settings_keep_what_they_do_not_change():
    with use_mode("repack", affine_dtype="float32") as outer:
        with use_mode() as inner:
            assert inner == outer
        with use_mode("fused") as inner:
            assert (inner.mode, inner.affine_dtype) == (Mode.FUSED, AffineDtype.FLOAT32)
        with use_mode(affine_dtype="activation") as inner:
            assert (inner.mode, inner.affine_dtype) == (Mode.REPACK, AffineDtype.ACTIVATION)
        assert nodes() == {"QuantizedMatmulNode": 1}


def test_mode_is_read_once_an_export(monkeypatch):
    """Not for each node: half a model in each mode would be a wrong model."""
    reads = []
    resolve = mode.resolve
    monkeypatch.setattr(mode, "resolve", lambda *args: reads.append(args) or resolve(*args))
    layers = [linear(quantize("Q4_K", 256, 256, seed), "Q4_K", torch.float32) for seed in (1, 2, 3)]
    module = nn.Sequential(*layers)
    lower(module, X)
    assert len(reads) == 1
    reads.clear()
    export_module(module, (X,))
    assert len(reads) == 1


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = embedding(quantize("Q6_K", 67, 256), "Q6_K", torch.float32)
        self.head = linear(BLOCKS, "Q4_K", torch.float32)

    def forward(self, indices):
        return self.head(self.embedding(indices))


def test_both_modes_in_one_program(caplog):
    """In repack mode what has no form of MLX's stays fused, beside what is repacked."""
    indices = torch.tensor([[1, 2, 3]])
    fused = Exported(export_module(Model(), (indices,), mode="fused"))
    assert fused.kernels() == ["gguf_q4_k_qmv_batch", "gguf_q6_k_gather"]
    with caplog.at_level(logging.WARNING, "mlx_gguf.lowering"):
        repacked = Exported(export_module(Model(), (indices,), mode="repack"))
    assert repacked.nodes() == {"MetalKernelNode": 1, "QuantizedMatmulNode": 1}
    assert repacked.kernels() == ["gguf_q6_k_gather"]
