"""Tests of the GGUF reader: agreement with the `gguf` package, and every kind of damage."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

import gguf
from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.checkpoint.testing import TENSORS, raw_file, raw_string, write_sample


@pytest.fixture(scope="module", name="sample")
def _sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("gguf") / "sample.gguf")


@pytest.fixture(name="damaged")
def _damaged(tmp_path: Path):
    """Writes bytes to a file and returns the one-line error that opening it raises."""
    path = tmp_path / "damaged.gguf"

    def message(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(GGUFError) as caught:
            GGUFFile(path)
        text = str(caught.value)
        _assert_one_line(text, path)
        return text.removeprefix(f"{path}: ")

    return message


def _assert_one_line(text: str, path: Path) -> None:
    assert text.startswith(f"{path}: ") and len(text.splitlines()) == 1, text
    assert "expected" in text and "found" in text, text


def _data_start(path: Path) -> int:
    return min(info.offset for info in GGUFFile(path).tensors.values())


F32, Q4_K = 0, 12


def test_agrees_with_the_gguf_package(sample: Path) -> None:
    ours = GGUFFile(sample)
    theirs = gguf.GGUFReader(sample)
    assert list(ours.tensors) == list(TENSORS) == [t.name for t in theirs.tensors]
    for tensor in theirs.tensors:
        info = ours.tensors[tensor.name]
        assert info.shape == tuple(reversed(tensor.shape.tolist()))
        assert info.ggml_type == tensor.tensor_type.name
        assert (info.offset, info.nbytes) == (tensor.data_offset, tensor.n_bytes)
        assert info.blocks().tobytes() == tensor.data.tobytes()
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            value = ours.metadata[key]
            value = value.tolist() if isinstance(value, np.ndarray) else value
            assert (list(value) if isinstance(value, tuple) else value) == field.contents()


def test_blocks_are_a_read_only_view(sample: Path) -> None:
    info = GGUFFile(sample).tensors["blk.0.attn_q.weight"]
    blocks = info.blocks()
    assert blocks.shape == (12, 2 * 144) and blocks.dtype == np.uint8
    assert not blocks.flags.owndata and not blocks.flags.writeable
    assert blocks.ctypes.data == info.blocks().ctypes.data
    assert info.weights == 12 * 512 and info.rows == 12


def test_leading_dimensions_are_rows(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "experts.gguf", {"experts": ("Q4_K", (2, 3, 256))})
    info = GGUFFile(path).tensors["experts"]
    assert info.shape == (2, 3, 256) and info.blocks().shape == (6, 144)
    assert info.to_torch().shape == (2, 3, 144)
    assert info.to_torch().data_ptr() == info.blocks().ctypes.data


def test_file_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.write_bytes(raw_file())
    assert not GGUFFile(path).tensors


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "a file with contents, found an empty file"),
        (b"GG", "magic: expected 4 bytes at offset 0, found 2"),
        (raw_file(magic=b"GGML"), "magic: expected b'GGUF', found b'GGML'"),
        (raw_file(version=1), "version: expected 2 or 3, found 1"),
        (raw_file(version=3 << 24), "found 0x3000000: a big-endian file"),
        (
            raw_file(counts=(2**63, 0)),
            f"tensor count: expected at most 0, which is what the file has room for, found {2**63}",
        ),
        (
            raw_file(counts=(0, 2**40)),
            f"metadata count: expected at most 0, which is what the file has"
            f" room for, found {2**40}",
        ),
        (
            raw_file([(b"k", 13, bytes(8))]),
            "metadata 'k': expected a value type of 0 to 12, found 13",
        ),
        (raw_file([(b"k", 4, bytes(4))] * 2), "metadata 'k': expected each key once"),
        (
            raw_file([(b"k", 8, raw_string(b"\xff\xfe"))]),
            "metadata 'k': expected UTF-8 text, found byte",
        ),
        (raw_file([(b"k", 7, b"\x02")]), "metadata 'k': expected a bool of 0 or 1, found 2"),
        (
            raw_file([(b"k", 9, struct.pack("<IQ", 4, 2**62))]),
            "metadata 'k' length: expected at most",
        ),
        (
            raw_file([(b"k", 9, struct.pack("<IQ", 9, 1))]),
            "metadata 'k': expected an array of numbers",
        ),
        (
            raw_file([(b"k" * 70000, 4, bytes(4))]),
            "metadata key 0 of 1: expected a length of at most",
        ),
        (raw_file([(b"general.alignment", 4, struct.pack("<I", 33))]), "expected a power of two"),
        (raw_file([(b"general.alignment", 10, struct.pack("<Q", 32))]), "expected value type 4"),
        (
            raw_file(tensors=[(b"t", (1, 1, 1, 1, 1), F32, 0)]),
            "tensor 't': expected at most 4 dimensions",
        ),
        (raw_file(tensors=[(b"t", (2**40, 2**40), F32, 0)]), "fewer than 2**63 elements"),
        (
            raw_file(tensors=[(b"t", (256,), 5, 0)]),
            "tensor 't': expected a known ggml type id, found id 5",
        ),
        (
            raw_file(tensors=[(b"t", (320, 2), Q4_K, 0)], data=bytes(360)),
            "tensor 't': expected rows of a multiple of 256 weights for Q4_K, found shape (2, 320)",
        ),
        (
            raw_file(tensors=[(b"t", (256, 2), Q4_K, 0)], data=bytes(287)),
            "tensor 't': expected 288 bytes for Q4_K of shape (2, 256) at offset 96, "
            "found 287 before",
        ),
        (
            raw_file(tensors=[(b"t", (8,), F32, 16)], data=bytes(64)),
            "tensor 't': expected an offset that is a multiple of 32, found 16",
        ),
        (
            raw_file(tensors=[(b"t", (8,), F32, 32)], data=bytes(64)),
            "tensor 't': expected offset 0 for the first tensor, found 32",
        ),
        (
            raw_file(tensors=[(b"t", (8,), F32, 0), (b"t", (8,), F32, 32)], data=bytes(64)),
            "tensor 't': expected each name once",
        ),
        (
            raw_file(tensors=[(b"t", (16,), F32, 0), (b"u", (8,), F32, 32)], data=bytes(96)),
            "tensor 't': expected 64 bytes for F32 of shape (16,), so that tensor 'u' starts "
            "at offset 64, found offset 32",
        ),
        (
            raw_file(tensors=[(b"t", (8,), F32, 0), (b"u", (8,), F32, 64)], data=bytes(96)),
            "so that tensor 'u' starts at offset 32, found offset 64",
        ),
        (
            raw_file(tensors=[(b"a\nb", (4,), 99, 0)]),
            r"tensor 'a\nb': expected a known ggml type id",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_named(damaged, data: bytes, expected: str) -> None:
    assert expected in damaged(data)


def test_unreadable_paths(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, found in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "a directory"),
        (fifo, "another kind of file"),
    ):
        with pytest.raises(GGUFError, match=found) as caught:
            GGUFFile(path)
        _assert_one_line(str(caught.value), path)


def test_every_truncation_is_an_error(sample: Path, damaged) -> None:
    data = sample.read_bytes()
    start = _data_start(sample)
    last = GGUFFile(sample).tensors["output_norm.weight"]
    end = last.offset + last.nbytes
    assert len(data) - end < 32
    for size in [*range(start), *range(start, end, 61), end - 1]:
        damaged(data[:size])


@pytest.mark.parametrize("mask", [0x01, 0x40, 0x80, 0xFF])
def test_flipped_header_bytes_raise_nothing_else(sample: Path, tmp_path: Path, mask: int) -> None:
    data = bytearray(sample.read_bytes())
    path = tmp_path / "flipped.gguf"
    errors = 0
    start = _data_start(sample)
    for index in range(start):
        data[index] ^= mask
        path.write_bytes(data)
        data[index] ^= mask
        try:
            tensors = GGUFFile(path).tensors.values()
        except GGUFError as error:
            _assert_one_line(str(error), path)
            errors += 1
        else:
            assert all(info.blocks().nbytes == info.nbytes for info in tensors)
    assert errors > start // 4


def test_odd_but_sound(tmp_path):
    """Bytes after the last tensor, a tensor of nothing and a note in Latin-1: warnings at most."""
    path = tmp_path / "odd.gguf"
    note = (b"general.description", 8, struct.pack("<Q", 4) + b"Caf\xe9")
    tensors = [(b"none", (4, 0), F32, 0), (b"t", (256, 1), Q4_K, 0)]
    path.write_bytes(raw_file([note], tensors, data=bytes(288)))
    file = GGUFFile(path)
    assert file.metadata["general.description"] == "Caf\ufffd"
    assert file.tensors["none"].shape == (0, 4) and file.tensors["none"].blocks().size == 0
    assert file.warnings == [
        "metadata 'general.description': text that is not UTF-8",
        "tensor 't': the last one, with 128 bytes of nothing after it",
    ]
