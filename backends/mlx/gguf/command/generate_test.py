"""Tests of the command, with a small tokenizer and a model that says what it was told to say."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.checkpoint.testing import write
from backends.mlx.gguf.command import generate
from backends.mlx.gguf.generation import model_file
from backends.mlx.gguf.generation.session import Session
from backends.mlx.gguf.generation.testing import Parrot
from backends.mlx.gguf.tokenizer.testing import BOS, TURN_END, byte_level
from backends.mlx.gguf.tokenizer.tokenizer import Tokenizer

CACHE = 64


class World:
    """A model file that is not one: its tokenizer, what it will say, and what it was told."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.reply: list[int] = []
        self.model: Parrot | None = None

    def says(self, text: str) -> list[int]:
        self.reply = self.tokenizer.encode(text)
        return self.reply

    def open(self, path: Path) -> SimpleNamespace:
        self.model = Parrot(self.reply, self.tokenizer.vocab_size)
        session = Session(self.model, max_seq_len=CACHE, prefill_chunk=CACHE)
        return SimpleNamespace(tokenizer=self.tokenizer, session=lambda: session)


@pytest.fixture(name="make_world")
def _make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict], World]:
    def make(metadata: dict) -> World:
        file = GGUFFile(write(tmp_path / "tokenizer.gguf", metadata))
        world = World(Tokenizer.from_gguf(file))
        monkeypatch.setattr(model_file, "ModelFile", world.open)
        return world

    return make


@pytest.fixture(name="world")
def _world(make_world: Callable[[dict], World]) -> World:
    return make_world(byte_level())


def test_answers_in_the_chat_format(world: World, capsys: pytest.CaptureFixture) -> None:
    world.says(f"hello कि!{TURN_END}")
    assert generate.main(["m.pte", "--prompt", "hi?"]) == 0
    output = capsys.readouterr()
    assert output.out == "hello कि!\n"
    assert output.err.startswith("load ") and output.err.count("\n") == 1
    assert "the model ended" in output.err and "tokens/s" in output.err
    heard = world.tokenizer.encode(f"user:hi?{TURN_END}assistant:") + world.reply[:-1]
    assert world.model.heard == heard


def test_system_message(world: World, capsys: pytest.CaptureFixture) -> None:
    world.says(TURN_END)
    assert generate.main(["m.pte", "--prompt", "hi?", "--system", "Be brief."]) == 0
    expected = f"system:Be brief.{TURN_END}user:hi?{TURN_END}assistant:"
    assert world.model.heard == world.tokenizer.encode(expected)
    assert capsys.readouterr().out == "\n"


def test_raw_prompt(world: World, capsys: pytest.CaptureFixture) -> None:
    world.says(f" hello{TURN_END}")
    assert generate.main(["m.pte", "--prompt", f"say{BOS}", "--raw"]) == 0
    assert world.model.heard[:4] == world.tokenizer.encode(f"say{BOS}")
    output = capsys.readouterr()
    assert output.out == " hello\n" and "chat template" not in output.err


def test_prompt_from_stdin(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.says(TURN_END)
    data = io.TextIOWrapper(io.BytesIO("é\nb\n".encode()), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", data)
    assert generate.main(["m.pte", "--prompt", "-", "--raw"]) == 0
    assert world.model.heard == world.tokenizer.encode("é\nb")


def test_json(world: World, capsys: pytest.CaptureFixture) -> None:
    ids = world.says(f"hello कि{TURN_END}")
    assert generate.main(["m.pte", "--prompt", "hi?", "--json"]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert output.out.count("\n") == 1 and not output.err
    assert report["text"] == "hello कि" and report["token_ids"] == ids[:-1]
    assert report["prompt_token_ids"] == world.tokenizer.encode(f"user:hi?{TURN_END}assistant:")
    assert (report["stop"], report["seed"]) == ("end", None)
    assert set(report["seconds"]) == {"load", "prefill", "decode"}
    assert all(rate > 0 for rate in report["tokens_per_second"].values())


@pytest.mark.parametrize("as_json", [False, True])
def test_tells_which_kernels_it_compiles(
    world: World, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    opened = world.open

    def open_slowly(path: Path) -> SimpleNamespace:
        model = opened(path)

        def session() -> Session:
            logging.getLogger("backends.mlx.metal.libraries").info("kernel %d of %d", 1, 2)
            return model.session()

        return SimpleNamespace(tokenizer=model.tokenizer, session=session)

    monkeypatch.setattr(model_file, "ModelFile", open_slowly)
    # As torch's and ExecuTorch's imports leave it.
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(sys.stderr)])
    for _ in range(2):
        world.says(f"hello{TURN_END}")
        assert generate.main(["m.pte", "--prompt", "hi?", *["--json"] * as_json]) == 0
        out, err = capsys.readouterr()
        assert (json.loads(out)["text"] if as_json else out.strip()) == "hello"
        assert err.splitlines()[0] == "generate: compiling, kernel 1 of 2"
        assert len(err.splitlines()) == (1 if as_json else 2)


@pytest.mark.parametrize(
    ("arguments", "count", "reason"),
    [
        (["--max-tokens", "3"], 3, "as many as --max-tokens allows"),
        ([], CACHE, "the cache of 64 tokens is full"),
    ],
)
def test_says_why_it_stopped(
    world: World, capsys: pytest.CaptureFixture, arguments: list[str], count: int, reason: str
) -> None:
    world.says("a" * 100)
    assert generate.main(["m.pte", "--raw", "--prompt", "b", *arguments]) == 0
    output = capsys.readouterr()
    assert output.out == "a" * count + "\n" and reason in output.err


def test_characters_appear_when_they_are_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=written.append, flush=lambda: None))
    world.says(f"aक{TURN_END}")
    assert generate.main(["m.pte", "--raw", "--prompt", "b"]) == 0
    assert [piece for piece in written if piece] == ["a", "क", "\n"]


def test_character_that_is_never_finished(world: World, capsys: pytest.CaptureFixture) -> None:
    world.says("aक")
    assert generate.main(["m.pte", "--raw", "--prompt", "b", "--max-tokens", "2"]) == 0
    assert capsys.readouterr().out == "a\ufffd\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_interrupt_keeps_what_there_is(
    world: World, capsys: pytest.CaptureFixture, as_json: bool
) -> None:
    def interrupted():
        yield from world.tokenizer.encode("hello")
        raise KeyboardInterrupt

    world.reply = interrupted()
    assert generate.main(["m.pte", "--prompt", "b", *["--json"] * as_json]) == 130
    output = capsys.readouterr()
    if as_json:
        report = json.loads(output.out)
        assert (report["text"], report["stop"]) == ("hello", "interrupt")
    else:
        assert output.out == "hello\n" and "interrupted" in output.err


def test_model_without_a_chat_template(
    make_world: Callable[[dict], World], capsys: pytest.CaptureFixture
) -> None:
    metadata = byte_level()
    del metadata["tokenizer.chat_template"]
    world = make_world(metadata)
    world.says(TURN_END)
    assert generate.main(["m.pte", "--prompt", "b"]) == 0
    assert world.model.heard == world.tokenizer.encode("b")
    assert "the model has no chat template: the prompt is continued" in capsys.readouterr().err
    assert generate.main(["m.pte", "--prompt", "b", "--system", "c"]) == 2
    assert "--system: expected a chat to put it into" in capsys.readouterr().err


def test_seed(world: World, capsys: pytest.CaptureFixture) -> None:
    def report(*arguments: str) -> dict:
        world.says("a" * 20)
        assert (
            generate.main(
                [
                    "m.pte",
                    "--prompt",
                    "b",
                    "--raw",
                    "--json",
                    "--max-tokens",
                    "20",
                    "--temperature",
                    "1",
                    *arguments,
                ]
            )
            == 0
        )
        return json.loads(capsys.readouterr().out)

    drawn = report()
    # The reply's logits are nearly flat: other seeds give other tokens.
    assert report("--seed", str(drawn["seed"]))["token_ids"] == drawn["token_ids"]
    assert report("--seed", "1")["token_ids"] != report("--seed", "2")["token_ids"]
    assert report("--top-k", "1")["text"] == "a" * 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: MODEL.pte, --prompt"),
        (
            ["m.pte", "--prompt", "a", "--max-tokens", "0"],
            "expected a number of at least 1, found '0'",
        ),
        (["m.pte", "--prompt", "a", "--temperature", "-1"], "--temperature: expected 0 or more"),
        (["m.pte", "--prompt", "a", "--temperature", "nan"], "--temperature: expected 0 or more"),
        (
            ["m.pte", "--prompt", "a", "--temperature", "1", "--top-p", "2"],
            "--top-p: expected more",
        ),
        (["m.pte", "--prompt", "a", "--temperature", "1", "--top-k", "-2"], "--top-k: expected 0"),
        (
            ["m.pte", "--prompt", "a", "--temperature", "1", "--seed", "-2"],
            "argument --seed: expected",
        ),
        (["m.pte", "--prompt", "a", "--top-p", "0.5"], "--top-p: expected --temperature above 0"),
        (
            ["m.pte", "--prompt", "a", "--seed", "0"],
            "--seed: expected --temperature above 0 with it",
        ),
        (["m.pte", "--prompt", "a", "--raw", "--system", "b"], "--system: expected a chat"),
        (["m.pte", "--prompt", "", "--raw"], "prompt: expected at least one token, found none"),
        (["m.pte", "--prompt", "\udcff"], "--prompt: expected UTF-8 text, found"),
        (
            ["m.pte", "--prompt", "b" * 65, "--raw"],
            "prompt: expected at most 64 tokens (the model's cache has 64), found 65",
        ),
    ],
    ids=lambda value: " ".join(value[2:4]) if isinstance(value, list) and value else "",
)
def test_bad_input_is_one_line(
    world: World, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    world.says("a")
    assert generate.main(arguments) == 2
    output = capsys.readouterr()
    assert not output.out and output.err.count("\n") == 1
    assert output.err.startswith("generate: ") and message in output.err


def test_damaged_chat_template(
    make_world: Callable[[dict], World], capsys: pytest.CaptureFixture
) -> None:
    make_world(byte_level() | {"tokenizer.chat_template": "{% if %}"})
    assert generate.main(["m.pte", "--prompt", "b"]) == 2
    assert "chat template: expected a sound Jinja template" in capsys.readouterr().err


def test_missing_and_foreign_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    missing, foreign = tmp_path / "missing.pte", tmp_path / "foreign.pte"
    foreign.write_bytes(b"PK" * 100)
    for path, found in ((missing, "No such file"), (foreign, "expected b'eh00', found")):
        assert generate.main([str(path), "--prompt", "b"]) == 2
        output = capsys.readouterr().err
        assert str(path) in output and found in output and output.count("\n") == 1
