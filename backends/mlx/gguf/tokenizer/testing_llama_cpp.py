"""Asks llama.cpp for the ids of the cases in `testing_cases.py`, and writes `llama_cpp_ids.json`.

    python -m backends.mlx.gguf.tokenizer.testing_llama_cpp FOLDER

FOLDER has llama.cpp's libraries, for instance `bins/linux-x64` of the npm package
`@node-llama-cpp/linux-x64`; its version, and where the place of a field in `llama_model_params` is
known, is `_VERSION`. A file that makes llama.cpp abort counts as refused.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from backends.mlx.gguf.checkpoint.testing import write
from backends.mlx.gguf.tokenizer.pre_tokenizers import PRE_TOKENIZERS
from backends.mlx.gguf.tokenizer.testing_cases import TEXTS, cases, pairs, random_texts

RECORD = Path(__file__).with_name("llama_cpp_ids.json")
# Rows that differ from one another most; they get more texts.
MANY = ("gpt-2", "llama-bpe", "gpt-4o", "deepseek-v3", "kimi-k2")

_VERSION = "v0.4.0"
# Where `llama_model_params` has `vocab_only`, by that version's llama.h.
_VOCAB_ONLY = 72
_FEW, _MOST = [*TEXTS, *random_texts(150)], random_texts(2000, seed=1)


def texts_of(name: str, *, many: bool = False) -> list[str]:
    """The texts that the row or case of that name is tried on."""
    texts = _MOST if many else _FEW
    if name.endswith("whitespace"):
        # llama.cpp aborts at two spaces.
        return [text for text in texts if not re.search(r"\s\s", text)]
    if "Phi-3" in name:
        # After whole tokens llama.cpp skips ASCII's spaces only, `tokenizers` all.
        return [text for text in texts if not re.search(r"[^\S\t-\r ]", text)]
    return texts


def digest(values: Iterable[Any]) -> str:
    """A short hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()[:16]


class _ModelParams(ctypes.Structure):
    # Longer than the library's, which is passed by value through memory.
    _fields_ = [("bytes", ctypes.c_uint8 * 512)]


class _LlamaCpp:
    def __init__(self, folder: Path) -> None:
        for name in ("libggml-base.so", "libggml.v*.so"):
            ctypes.CDLL(str(next(folder.glob(name))), mode=ctypes.RTLD_GLOBAL)
        self.library = library = ctypes.CDLL(str(next(folder.glob("libllama.v*.so"))))
        self._silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            lambda *_: None
        )
        library.llama_log_set(self._silent, None)
        library.llama_backend_init()
        pointer, integer, flag = ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool
        ids = ctypes.POINTER(integer)
        for name, result, arguments in (
            ("model_default_params", _ModelParams, []),
            ("model_load_from_file", pointer, [ctypes.c_char_p, _ModelParams]),
            ("model_get_vocab", pointer, [pointer]),
            ("vocab_n_tokens", integer, [pointer]),
            ("vocab_is_eog", flag, [pointer, integer]),
            ("tokenize", integer, [pointer, ctypes.c_char_p, integer, ids, integer, flag, flag]),
        ):
            function = getattr(library, f"llama_{name}")
            function.restype, function.argtypes = result, arguments

    def ask(self, path: Path, texts: Sequence[str]) -> dict[str, Any] | None:
        """The ends and the ids of each text, with and without control tokens; None if refused."""
        library = self.library
        params = library.llama_model_default_params()
        params.bytes[_VOCAB_ONLY] = 1
        model = library.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            return None
        vocab = library.llama_model_get_vocab(model)
        count = library.llama_vocab_n_tokens(vocab)

        def tokenize(text: str, parse_special: bool) -> list[int]:
            data = text.encode()
            room = 2 * len(data) + 8
            ids = (ctypes.c_int32 * room)()
            found = library.llama_tokenize(vocab, data, len(data), ids, room, True, parse_special)
            return ids[:found]

        return {
            "ends": [index for index in range(count) if library.llama_vocab_is_eog(vocab, index)],
            "ids": digest([tokenize(text, special) for text in texts for special in (True, False)]),
        }


def _in_child(function: Callable[[], Any]) -> Any:
    """What the function gives in a process of its own, None if that ends early."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writing, "wb") as file:
            file.write(pickle.dumps(function()))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    return pickle.loads(data) if data else None


def main(folder: str) -> None:
    """Writes the record."""
    os.environ["GGML_NO_BACKTRACE"] = "1"
    llama = _LlamaCpp(Path(folder))
    record: dict[str, Any] = {"llama_cpp": _VERSION, "texts": digest(_FEW + _MOST)}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "case.gguf"

        def ask(metadata: dict[str, Any], texts: Sequence[str]) -> Any:
            write(path, metadata)
            return _in_child(lambda: llama.ask(path, texts))

        for kind, names in (("rows", PRE_TOKENIZERS), ("many", MANY)):
            record[kind] = {
                name: ask(
                    pairs() | {"tokenizer.ggml.pre": name}, texts_of(name, many=kind == "many")
                )
                for name in names
                if not PRE_TOKENIZERS[name].plain
            }
        record["cases"] = {name: ask(metadata, texts_of(name)) for name, metadata in cases()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
