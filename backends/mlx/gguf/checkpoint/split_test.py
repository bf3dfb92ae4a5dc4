"""Tests of models that are split over several files, and of the checked look-ups."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from backends.mlx.gguf.checkpoint.file import GGUFError, GGUFFile
from backends.mlx.gguf.checkpoint.testing import TENSORS, Tensor, write, write_sample, write_split


@pytest.fixture(name="parts")
def _parts(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "split"
    folder.mkdir()
    return write_split(folder)


def _fails(path: Path, message: str) -> None:
    with pytest.raises(GGUFError, match=re.escape(message)) as caught:
        GGUFFile(path)
    assert len(str(caught.value).splitlines()) == 1


def _replace(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1 and len(old) == len(new)
    path.write_bytes(data.replace(old, new))


def _key(name: str, value: int) -> bytes:
    """A key of a header with its value: the first two of a split are uint16, the third int32."""
    value_type, size = (5, 4) if name.endswith("tensors.count") else (2, 2)
    return name.encode() + value_type.to_bytes(4, "little") + value.to_bytes(size, "little")


def test_any_part_opens_the_whole(parts: list[Path], tmp_path: Path) -> None:
    whole = GGUFFile(write_sample(tmp_path / "whole.gguf"))
    assert len(parts) == len(TENSORS)
    for part in parts:
        file = GGUFFile(part)
        assert file.path == parts[0] and file.paths == tuple(parts)
        assert list(file.tensors) == list(TENSORS)
        for path, (name, info) in zip(parts, file.tensors.items(), strict=True):
            assert info.path == path
            assert info.blocks().tobytes() == whole.tensors[name].blocks().tobytes()
        assert file.metadata.keys() - whole.metadata.keys() == {
            "split.no",
            "split.count",
            "split.tensors.count",
        }


def test_a_whole_file_has_one_path(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "a-00002-of-00002.gguf")
    assert GGUFFile(path).paths == (path,)


def test_one_part_of_one_may_have_any_name(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", {"split.count": 1})
    assert GGUFFile(path).paths == (path,)


def test_missing_part(parts: list[Path]) -> None:
    parts[2].unlink()
    _fails(
        parts[0],
        f"{parts[2]}: file: expected it beside {parts[0].name}, as a part of the "
        "same model, found no such file",
    )


def test_renamed_part(parts: list[Path]) -> None:
    other = parts[0].with_name("model.gguf")
    parts[0].rename(other)
    _fails(
        other,
        f"{other}: file name of part 0 (from 0) of 4: expected "
        "NAME-00001-of-00004.gguf, found model.gguf",
    )
    other.rename(parts[0])
    third = parts[2].rename(parts[0].with_name("other-00002-of-00004.gguf"))
    _fails(third, "expected other-00003-of-00004.gguf, found other-00002-of-00004.gguf")


def test_swapped_parts(parts: list[Path]) -> None:
    shutil.copyfile(parts[3], parts[2])
    _fails(parts[0], f"{parts[2]}: metadata 'split.no': expected 2, found 3")


def test_repeated_tensor(parts: list[Path]) -> None:
    shutil.copyfile(parts[3], parts[2])
    _replace(parts[2], _key("split.no", 3), _key("split.no", 2))
    _fails(
        parts[0],
        f"{parts[3]}: tensor 'output_norm.weight': expected each name once, "
        f"found it in {parts[2].name} too",
    )


@pytest.mark.parametrize(
    ("part", "key", "old", "new", "message"),
    [
        (1, "split.count", 4, 5, "metadata 'split.count': expected 4, found 5"),
        (1, "split.tensors.count", 4, 3, "metadata 'split.tensors.count': expected 4, found 3"),
        (
            0,
            "split.count",
            4,
            3,
            "file name of part 0 (from 0) of 3: expected split-00001-of-00003",
        ),
        (0, "split.no", 0, 4, "metadata 'split.no': expected a number below 4, found 4"),
        (3, "split.nx", None, None, "metadata 'split.no': expected it in every part"),
    ],
)
def test_parts_that_disagree(
    parts: list[Path], part: int, key: str, old: int, new: int, message: str
) -> None:
    if old is None:
        _replace(parts[part], b"split.no", key.encode())
    else:
        _replace(parts[part], _key(key, old), _key(key, new))
    _fails(parts[0], f"{parts[part]}: {message}")


def test_tensors_that_no_part_has(parts: list[Path]) -> None:
    for path in parts:
        _replace(path, _key("split.tensors.count", 4), _key("split.tensors.count", 9))
    _fails(
        parts[1],
        f"{parts[0]}: tensors in all 4 files: expected 9, as split.tensors.count says, found 4",
    )


def test_damage_names_the_part(parts: list[Path]) -> None:
    parts[3].write_bytes(parts[3].read_bytes()[:-64])
    _fails(parts[0], f"{parts[3]}: tensor 'output_norm.weight': expected 256 bytes for F32")


def test_look_ups(tmp_path: Path) -> None:
    file = GGUFFile(write_sample(tmp_path / "sample.gguf"))
    assert file.require("sample.block_count", int) == 1
    assert file.require("sample.block_count", float) == 1.0
    assert file.require("sample.flag", bool) is True
    assert file.require("tokenizer.ggml.tokens", tuple) == ("<pad>", "\u2581a", "b")
    assert file.require("tokenizer.ggml.scores", np.ndarray).tolist() == [0.0, -1.5, -2.5]
    assert file.optional("sample.rope", float, 1e4) == 1e4
    assert file.optional("sample.rope", float) is None
    for key, kind, message in (
        ("sample.heads", int, "expected an integer, found no such key"),
        ("sample.epsilon", int, "expected an integer, found a float"),
        ("sample.flag", int, "expected an integer, found a bool"),
        ("sample.flag", float, "expected a float, found a bool"),
        (
            "tokenizer.ggml.tokens",
            np.ndarray,
            "expected an array of numbers, found an array of strings",
        ),
    ):
        with pytest.raises(GGUFError) as caught:
            file.require(key, kind)
        assert str(caught.value) == f"{file.path}: metadata '{key}': {message}"
    with pytest.raises(GGUFError, match="'sample.flag': expected a string, found a bool"):
        file.optional("sample.flag", str)


@pytest.mark.parametrize(
    ("ggml_type", "stored", "dtype"),
    [
        ("F32", np.float32, torch.float32),
        ("F16", np.float16, torch.float16),
        ("BF16", np.uint16, torch.bfloat16),
    ],
)
def test_dense_values_are_views(
    tmp_path: Path, ggml_type: str, stored: type, dtype: torch.dtype
) -> None:
    path = write_sample(tmp_path / "dense.gguf", {"a": (ggml_type, (2, 3, 5))})
    info = GGUFFile(path).tensors["a"]
    values, tensor = info.values(), info.to_torch()
    exact = np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)
    assert values.shape == (2, 3, 5) and values.dtype == stored and not values.flags.writeable
    assert tensor.dtype == dtype and torch.equal(tensor, torch.from_numpy(exact).to(dtype))
    address = info.blocks().ctypes.data
    assert values.ctypes.data == address == tensor.data_ptr()


def test_unaligned_values(tmp_path: Path) -> None:
    wanted = np.arange(3, dtype=np.float32)
    tensors: dict[str, Tensor] = {}
    for count in (1, 2, 3, 4):
        tensors[f"q{count}"] = ("Q4_0", np.zeros(18, np.uint8))
        tensors[f"f{count}"] = wanted
    path = write(tmp_path / "unaligned.gguf", {"general.alignment": 1}, tensors)
    infos = [info for info in GGUFFile(path).tensors.values() if info.is_dense]
    assert any(info.offset % 4 for info in infos)
    for info in infos:
        assert info.values().flags.aligned and not info.values().flags.writeable
        assert info.to_torch().tolist() == wanted.tolist()


def test_blocks_as_torch(tmp_path: Path) -> None:
    info = GGUFFile(write_sample(tmp_path / "sample.gguf")).tensors["blk.0.attn_q.weight"]
    tensor = info.to_torch()
    assert tensor.dtype == torch.uint8 and tensor.data_ptr() == info.blocks().ctypes.data
    with pytest.raises(GGUFError, match="attn_q.weight': expected type F32, F16, BF16, found Q4_K"):
        info.values()
