"""Constants reach the `.pte` from where they are."""

import io

import torch
from executorch.exir._serialize._named_data_store import NamedDataStore

from backends.mlx.gguf.lowering.export import TensorData, without_copies


def test_not_copied_and_written_whole():
    tensor = torch.arange(5000, dtype=torch.int32).reshape(50, 100)
    store = NamedDataStore()
    with without_copies():
        store.add_named_data("weight", tensor)
    (data,) = store.buffers
    assert isinstance(data, TensorData)
    file = io.BytesIO()
    data.write_to_file(file)
    assert file.getvalue() == tensor.numpy().tobytes() == data.to_bytes()
    tensor[0, 0] = 7
    assert data.prefix(4) == b"\7\0\0\0", "the bytes are those of the tensor, not of a copy"


def test_the_same_bytes_are_stored_once():
    store = NamedDataStore()
    with without_copies():
        store.add_named_data("embedding", torch.ones(64, 64))
        store.add_named_data("head", torch.ones(64, 64))
        store.add_named_data("other", torch.zeros(64, 64))
    assert len(store.buffers) == 2


def test_only_within():
    store = NamedDataStore()
    store.add_named_data("weight", torch.ones(64))
    assert isinstance(store.buffers[0], bytes)
