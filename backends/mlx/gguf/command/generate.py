"""`generate`: continues a prompt, or answers it, with a model that `export` made.

    generate MODEL.pte --prompt "..." [--system TEXT] [--raw] [--max-tokens N]
             [--temperature T] [--top-k K] [--top-p P] [--seed S] [--json]

The text goes to stdout as it comes, then a line of figures to stderr. In the prompt, raw or chat,
the texts of control tokens ("<|im_end|>") are these tokens, as in llama.cpp's programs. Where there
is no GPU, the model's kernels are compiled when it is loaded, each of them once and for all; stderr
tells of it, and the time counts as loading. Exit status: 0; 2 on bad input, with one line on
stderr; 130 if interrupted, with the text that there is by then.

`--json` prints one object:

    text, token_ids     what was generated, without the token that ended it
    prompt_token_ids
    stop                "end", "length", "cache full" or "interrupt"
    seed                of the random numbers, or null where none are drawn
    seconds             {load, prefill: up to the first token, decode: all tokens after it}
    tokens_per_second   {prefill, decode}, null where there is nothing to divide
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from backends.mlx.common.arguments import at_least
from backends.mlx.common.errors import InputError
from backends.mlx.gguf.command.main import INTERRUPTED, Parser, run, start, user_path
from backends.mlx.gguf.generation.generation import Generation, Stop
from backends.mlx.gguf.generation.sampling import Sampler, Sampling
from backends.mlx.gguf.generation.session import Session
from backends.mlx.gguf.tokenizer.tokenizer import TextStream, Tokenizer


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run(_parser(), _generate, arguments)


def _generate(options: argparse.Namespace) -> int:
    # Imported late: what it needs may not be there or not be made, which is told in a line.
    from backends.mlx.gguf.generation.model_file import ModelFile

    sampler, seed = _sampler(options)
    prompt = _prompt(options.prompt)
    started = time.perf_counter()
    model = ModelFile(options.model)
    prompt_ids = _prompt_ids(model.tokenizer, prompt, options)
    with _progress():
        session = model.session()
    load_seconds = time.perf_counter() - started
    generation = Generation(
        session,
        prompt_ids,
        choose=sampler,
        end_ids=model.tokenizer.eos_ids,
        max_tokens=options.max_tokens,
    )
    text = _text(generation, model.tokenizer, stream=not options.json)
    if options.json:
        print(json.dumps(_report(generation, text, load_seconds, seed), ensure_ascii=False))
    else:
        print(_summary(generation, session, load_seconds, seed), file=sys.stderr)
    return INTERRUPTED if generation.stop is Stop.INTERRUPT else 0


def _parser() -> Parser:
    parser = Parser(prog="generate", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=user_path, metavar="MODEL.pte")
    parser.add_argument(
        "--prompt",
        required=True,
        metavar="TEXT",
        help='what to answer or to continue; "-" reads it from stdin',
    )
    parser.add_argument("--system", metavar="TEXT", help="the chat's system message")
    parser.add_argument(
        "--raw", action="store_true", help="continue the prompt as it is, without the chat template"
    )
    parser.add_argument(
        "--max-tokens",
        type=at_least(1),
        default=128,
        metavar="N",
        help="the most tokens to generate (default: 128)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="0 always takes the most probable token (default)",
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="draw from the K most probable tokens only"
    )
    parser.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="draw from the fewest tokens of probability P together",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        metavar="S",
        help="of the random numbers (default: another one each time)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object at the end instead of the text"
    )
    return parser


def _sampler(options: argparse.Namespace) -> tuple[Sampler, int | None]:
    """How to choose tokens, and the seed, None where nothing is random."""
    given = {"--top-k": options.top_k, "--top-p": options.top_p, "--seed": options.seed}
    try:
        sampling = Sampling(
            options.temperature, options.top_k or 0, 1.0 if options.top_p is None else options.top_p
        )
    except InputError as error:
        raise InputError(f"--{str(error).replace('_', '-', 1)}") from None
    if not sampling.temperature:
        for name, value in given.items():
            if value is not None:
                raise InputError(
                    f"{name}: expected --temperature above 0 with it, found {sampling.temperature}"
                )
        return Sampler(sampling), None
    seed = secrets.randbits(32) if options.seed is None else options.seed
    return Sampler(sampling, seed), seed


def _prompt(text: str) -> str:
    """The prompt; from stdin without the newline that ends it."""
    try:
        if text == "-":
            return sys.stdin.buffer.read().decode().removesuffix("\n")
        # What is not UTF-8 on the command line reaches Python as lone surrogates.
        text.encode()
    except UnicodeError as error:
        raise InputError(f"--prompt: expected UTF-8 text, found {error}") from None
    return text


def _prompt_ids(tokenizer: Tokenizer, prompt: str, options: argparse.Namespace) -> list[int]:
    if tokenizer.chat_template is None or options.raw:
        if options.system is not None:
            found = "--raw" if options.raw else "a model without a chat template"
            raise InputError(f"--system: expected a chat to put it into, found {found}")
        if not options.raw:
            print(
                "generate: the model has no chat template: the prompt is continued as it is",
                file=sys.stderr,
            )
        return tokenizer.encode_prompt(prompt)
    messages = [{"role": "user", "content": prompt}]
    if options.system is not None:
        messages.insert(0, {"role": "system", "content": options.system})
    return tokenizer.encode_chat(messages)


@contextlib.contextmanager
def _progress() -> Iterator[None]:
    """Shows on stderr what `backends.mlx.metal` says of the kernels it compiles."""
    log = logging.getLogger("backends.mlx.metal")
    handler, level, propagate = logging.StreamHandler(), log.level, log.propagate
    handler.setFormatter(logging.Formatter("generate: compiling, %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    # Libraries give the root logger a handler, which would tell it once more.
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def _text(generation: Generation, tokenizer: Tokenizer, *, stream: bool) -> str:
    """Generates and returns the text, an interrupted one too; prints it as it comes."""
    pieces = []

    def show(piece: str) -> None:
        pieces.append(piece)
        if stream and piece:
            print(piece, end="", flush=True)

    decoder = TextStream(tokenizer)
    try:
        for token in generation:
            show(decoder.push(token))
    except KeyboardInterrupt:
        generation.stop = Stop.INTERRUPT
    show(decoder.finish())
    if stream:
        print(flush=True)
    return "".join(pieces)


def _report(
    generation: Generation, text: str, load_seconds: float, seed: int | None
) -> dict[str, Any]:
    return {
        "text": text,
        "token_ids": generation.ids,
        "prompt_token_ids": generation.prompt_ids,
        "stop": generation.stop.value,
        "seed": seed,
        "seconds": {
            "load": load_seconds,
            "prefill": generation.prefill_seconds,
            "decode": generation.decode_seconds,
        },
        "tokens_per_second": {"prefill": generation.prefill_rate, "decode": generation.decode_rate},
    }


def _summary(
    generation: Generation, session: Session, load_seconds: float, seed: int | None
) -> str:
    reasons = {
        Stop.END: "the model ended",
        Stop.LENGTH: "as many as --max-tokens allows",
        Stop.CACHE_FULL: f"the cache of {session.max_seq_len} tokens is full",
        Stop.INTERRUPT: "interrupted",
    }
    parts = [
        f"load {load_seconds:.1f} s",
        f"prefill {len(generation.prompt_ids)} tokens, {_rate(generation.prefill_rate)}",
        f"decode {len(generation.ids)} tokens, {_rate(generation.decode_rate)}",
        reasons[generation.stop],
    ]
    if seed is not None:
        parts.append(f"seed {seed}")
    return "; ".join(parts)


def _rate(rate: float | None) -> str:
    return "no rate" if rate is None else f"{rate:.2f} tokens/s"


if __name__ == "__main__":
    start(main)
