"""Asks llama.cpp for the logits of every case, and writes `logits.npz`, or compares with it.

It also writes `llama_cpp_keys.txt`, the keys that the library can ask for.

    python -m tests.field.llama_cpp FOLDER [--check]

FOLDER has llama.cpp's libraries, for instance `bins/linux-x64` of the npm package
`@node-llama-cpp/linux-x64`. The layouts of the structures that llama.h passes by value are those
of `VERSION`; the defaults that the library fills in are looked at before they are used.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.field import models
from tests.field.cases import CASES, Case

VERSION = "v0.4.0"
RECORD = Path(__file__).with_name("logits.npz")
KEYS = Path(__file__).with_name("llama_cpp_keys.txt")
IDS = tuple(range(5, 45))
# What is kept of the logits (positions, tokens): enough to see any difference.
KEPT = np.s_[-8:, ::8]
_CONTEXT = 512


class _Bytes512(ctypes.Structure):
    # Longer than llama_model_params, which is passed by value through memory.
    _fields_ = [("bytes", ctypes.c_uint8 * 512)]


class _ContextParams(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("context", "batch", "microbatch", "sequences")),
        ("more_counts", ctypes.c_uint32 * 3),
        ("threads", ctypes.c_int32),
        ("batch_threads", ctypes.c_int32),
        ("kinds", ctypes.c_int32 * 4),
        ("flash_attention", ctypes.c_int32),
        ("rope", ctypes.c_float * 6),
        ("original_context", ctypes.c_uint32),
        ("defragment", ctypes.c_float),
        ("callback", ctypes.c_void_p * 2),
        ("type_k", ctypes.c_int32),
        ("type_v", ctypes.c_int32),
        ("abort", ctypes.c_void_p * 2),
        ("embeddings", ctypes.c_bool),
        ("offload_kqv", ctypes.c_bool),
        ("no_perf", ctypes.c_bool),
        ("op_offload", ctypes.c_bool),
        ("whole_window_cache", ctypes.c_bool),
        ("rest", ctypes.c_byte * 256),
    ]

    def as_expected(self) -> bool:
        counts = (self.context, self.batch, self.microbatch, self.sequences)
        types = (self.type_k, self.type_v, self.flash_attention)
        return (
            counts == (512, 2048, 512, 1)
            and types == (1, 1, -1)
            and self.original_context == 0
            and self.offload_kqv
        )


class _Batch(ctypes.Structure):
    _fields_ = [
        ("count", ctypes.c_int32),
        ("tokens", ctypes.POINTER(ctypes.c_int32)),
        ("embeddings", ctypes.c_void_p),
        ("positions", ctypes.POINTER(ctypes.c_int32)),
        ("sequence_counts", ctypes.POINTER(ctypes.c_int32)),
        ("sequences", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("wanted", ctypes.POINTER(ctypes.c_int8)),
    ]


class LlamaCpp:
    """The library, loaded once a process."""

    def __init__(self, folder: Path) -> None:
        os.environ["GGML_NO_BACKTRACE"] = "1"
        ctypes.CDLL(str(next(folder.glob("libggml-base.so"))), mode=ctypes.RTLD_GLOBAL)
        ggml = ctypes.CDLL(str(next(folder.glob("libggml.v*.so"))), mode=ctypes.RTLD_GLOBAL)
        self._library = library = ctypes.CDLL(str(next(folder.glob(f"libllama.{VERSION}.so"))))
        self._silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            lambda *_: None
        )
        library.llama_log_set(self._silent, None)
        ggml.ggml_backend_load_all_from_path(str(folder).encode())
        library.llama_backend_init()
        pointer, integer = ctypes.c_void_p, ctypes.c_int32
        for name, result, arguments in (
            ("model_default_params", _Bytes512, []),
            ("model_load_from_file", pointer, [ctypes.c_char_p, _Bytes512]),
            ("context_default_params", _ContextParams, []),
            ("init_from_model", pointer, [pointer, _ContextParams]),
            ("batch_init", _Batch, [integer] * 3),
            ("decode", integer, [pointer, _Batch]),
            ("get_logits_ith", ctypes.POINTER(ctypes.c_float), [pointer, integer]),
        ):
            function = getattr(library, f"llama_{name}")
            function.restype, function.argtypes = result, arguments
        if not library.llama_context_default_params().as_expected():
            raise SystemExit("llama_context_params: of another layout than is known here")

    def logits(self, path: Path, ids: Sequence[int], vocabulary: int) -> np.ndarray | None:
        """float32 (len(ids), vocabulary); None if llama.cpp refuses the file or aborts."""
        # An assertion of the library's ends the process: each file has one of its own.
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            with os.fdopen(writing, "wb") as file:
                file.write(self._run(path, ids, vocabulary))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            data = file.read()
        os.waitpid(child, 0)
        return np.frombuffer(data, np.float32).reshape(len(ids), vocabulary) if data else None

    def _run(self, path: Path, ids: Sequence[int], vocabulary: int) -> bytes:
        llama = self._library
        params = llama.llama_model_default_params()
        model = llama.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            return b""
        settings = llama.llama_context_default_params()
        settings.context = settings.batch = settings.microbatch = _CONTEXT
        settings.threads = settings.batch_threads = 1
        settings.flash_attention = settings.type_k = settings.type_v = 0
        settings.whole_window_cache = True
        context = llama.llama_init_from_model(model, settings)
        batch = llama.llama_batch_init(len(ids), 0, 1)
        batch.count = len(ids)
        for place, token in enumerate(ids):
            batch.tokens[place], batch.positions[place] = token, place
            batch.sequence_counts[place], batch.wanted[place] = 1, 1
            batch.sequences[place][0] = 0
        if not context or llama.llama_decode(context, batch):
            return b""
        rows = (llama.llama_get_logits_ith(context, place) for place in range(len(ids)))
        return b"".join(np.ctypeslib.as_array(row, (vocabulary,)).tobytes() for row in rows)


def keys(folder: Path) -> str:
    """The keys of networks and tokenizers among the library's strings, one a line.

    An architecture's name in front of a key is "*".
    """
    data = (folder / f"libllama.{VERSION}.so").read_bytes()
    found = re.findall(rb"\0(%s|tokenizer)\.([a-z][a-z0-9_.]*[a-z0-9])(?=\0)", data)
    names = {f"{prefix.decode().replace('%s', '*')}.{name.decode()}" for prefix, name in found}
    return "".join(f"{name}\n" for name in sorted(names))


def write(case: Case, folder: Path) -> Path:
    """The file of a case."""
    path = folder / "case.gguf"
    return models.write(path, case.kind, case.metadata, case.change, layers=case.layers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the record, or says where it differs from what llama.cpp gives now."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    llama = LlamaCpp(options.folder)
    found: dict[str, np.ndarray] = {"llama.cpp": np.array(VERSION)}
    with tempfile.TemporaryDirectory() as temporary:
        for name, case in CASES.items():
            path = write(case, Path(temporary))
            logits = llama.logits(path, IDS, models.vocabulary_size())
            if logits is not None:
                found[name] = np.append(logits[KEPT], logits.std()).astype(np.float32)
            elif not case.refused:
                raise SystemExit(f"{name}: llama.cpp refuses it")
    if not options.check:
        np.savez_compressed(RECORD, **found)
        KEYS.write_text(keys(options.folder), encoding="utf-8")
        return 0
    record = np.load(RECORD)
    wrong = sorted(
        name
        for name in found.keys() | set(record)
        if name not in found or name not in record or not _close(found[name], record[name])
    )
    print(f"{len(found) - 1} cases, {len(wrong)} differ from the record", *wrong, sep="\n")
    return int(bool(wrong))


def _close(found: np.ndarray, recorded: np.ndarray) -> bool:
    if found.dtype.kind == "U":
        return bool(found == recorded)
    return bool(np.abs(found - recorded).max() <= 1e-4 * recorded[-1])


if __name__ == "__main__":
    sys.exit(main())
