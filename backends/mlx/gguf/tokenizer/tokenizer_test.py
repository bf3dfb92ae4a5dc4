"""Tests of the two checkpoints' tokenizers against llama.cpp's ids, SentencePiece and tokenizers.

Small vocabularies and damaged metadata are in `builder_test.py`.
"""

from __future__ import annotations

import json
import random

import pytest
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from backends.mlx.gguf.checkpoint import packaged
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.tokenizer.tokenizer import TextStream, Tokenizer, TokenizerError
from backends.mlx.gguf.tokenizer.vocabulary import TokenType

TEXTS = [
    "",
    " ",
    "a",
    " a",
    "  a  ",
    "\n",
    "\n\n\n x\t\ty\r\n",
    "x" * 300,
    " " * 70 + "a",
    "日本語テキスト と 中文，全角！",
    "emoji 👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 é",
    "مرحبا بالعالم ไทย हिन्दी",
    "def f(x):\n    return x**2  # 12345\n\n\nclass A: pass",
    "3.14159 2023-11-24 1e-5",
    "don't I'LL we’ve 'S",
    "<table><tr> a</tr>",
    "\x00\x01\x7f\u0080\ufffd",
    "\U0010ffff\ue000",
]
FRANCE, ONCE = "The capital of France is", "Once upon a time, there was a little"
QUESTION = [{"role": "user", "content": "What is 2+2?"}]


@pytest.fixture(scope="module", name="smollm2")
def _smollm2() -> Tokenizer:
    return Tokenizer.from_gguf(GGUFFile(packaged.smollm2()))


@pytest.fixture(scope="module", name="gemma3")
def _gemma3() -> Tokenizer:
    return Tokenizer.from_gguf(GGUFFile(packaged.gemma3()))


@pytest.fixture(scope="module", name="tokenizer", params=["smollm2", "gemma3"])
def _tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)


def _random_texts(count: int) -> list[str]:
    """Letters, digits, spaces and newlines of many scripts, mixed without sense."""
    generator = random.Random(0)
    ranges = [(0x20, 0x7F), (0x20, 0x7F), (0x80, 0x3000), (0x4E00, 0xA000), (0x1F300, 0x1F700)]
    texts = []
    for _ in range(count):
        letters = [chr(generator.randrange(*generator.choice(ranges))) for _ in range(20)]
        letters += generator.choices(" \n\t'059as", k=20)
        generator.shuffle(letters)
        texts.append("".join(letters))
    return texts


# llama.cpp's ids.
@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("smollm2", FRANCE, [504, 3575, 282, 4649, 314]),
        ("smollm2", ONCE, [6403, 1980, 253, 655, 28, 665, 436, 253, 1838]),
        ("gemma3", FRANCE, [2, 818, 5279, 529, 7001, 563]),
        ("gemma3", ONCE, [2, 14946, 3324, 496, 990, 236764, 993, 691, 496, 2268]),
    ],
)
def test_ids_are_llama_cpps(
    request: pytest.FixtureRequest, name: str, text: str, ids: list[int]
) -> None:
    assert request.getfixturevalue(name).encode(text) == ids


def test_roles(smollm2: Tokenizer, gemma3: Tokenizer) -> None:
    assert (smollm2.bos_id, smollm2.vocab_size) == (1, 49152)
    assert smollm2.eos_ids == {0, 2, 4}  # <|endoftext|>, <|im_end|>, <reponame>
    assert (gemma3.bos_id, gemma3.vocab_size) == (2, 262144)
    # <eos>, <end_of_turn>, and </s>, which is HTML here, but llama.cpp goes by the text.
    assert gemma3.eos_ids == {1, 106, 212} and gemma3.chat_template is None


@pytest.mark.parametrize("parse_special", [True, False])
def test_decoding_gives_the_text_back(tokenizer: Tokenizer, parse_special: bool) -> None:
    for text in TEXTS + _random_texts(200):
        assert tokenizer.decode(tokenizer.encode(text, parse_special=parse_special)) == text


def test_streamed_pieces_are_the_text(tokenizer: Tokenizer) -> None:
    for text in TEXTS + _random_texts(200):
        stream = TextStream(tokenizer)
        pieces = [stream.push(index) for index in tokenizer.encode(text)]
        assert "".join(pieces) == text and stream.finish() == ""
        assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


def test_streamed_tokens_without_sense_are_what_the_library_decodes(tokenizer: Tokenizer) -> None:
    generator = random.Random(1)
    broken = 0
    for _ in range(200):
        ids = generator.choices(range(tokenizer.vocab_size), k=20)
        stream = TextStream(tokenizer)
        text = "".join(map(stream.push, ids)) + stream.finish()
        assert text == tokenizer.decode(ids)
        broken += "\ufffd" in text
    # Only a byte-level vocabulary has many tokens that are parts of characters.
    assert broken or tokenizer.vocab_size > 100000


def test_unfinished_characters_wait(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    ids = tokenizer.encode("\U0010ffff", add_special=False)
    assert len(ids) == 4 and [stream.push(index) for index in ids] == ["", "", "", "\U0010ffff"]
    stream.push(ids[0])
    assert stream.finish() == "\ufffd"


def test_an_id_that_is_none(smollm2: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="expected one below 49152, found 49152"):
        TextStream(smollm2).push(49152)


def test_texts_of_control_tokens(smollm2: Tokenizer, gemma3: Tokenizer) -> None:
    for tokenizer, text, index in ((smollm2, "<|im_end|>", 2), (gemma3, "<end_of_turn>", 106)):
        assert tokenizer.encode(text, add_special=False) == [index]
        assert tokenizer.decode([index]) == ""
        ids = tokenizer.encode(text, add_special=False, parse_special=False)
        assert index not in ids and tokenizer.decode(ids) == text


def test_bytes_and_back(tokenizer: Tokenizer) -> None:
    stored = tokenizer.to_bytes()
    again = Tokenizer.from_bytes(*stored)
    assert again.to_bytes() == stored
    for name in ("vocab_size", "bos_id", "eos_ids", "chat_template"):
        assert getattr(again, name) == getattr(tokenizer, name)
    for text in TEXTS:
        assert again.encode(text) == tokenizer.encode(text)


def test_smollm2_splits_as_its_publisher_says(smollm2: Tokenizer) -> None:
    # SmolLM2's tokenizer.json: each digit by itself, then GPT-2's expression, which the library has
    # built in.
    library = Tokenizer.from_bytes(*smollm2.to_bytes())._library
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    for text in TEXTS + _random_texts(500):
        assert smollm2.encode(text) == library.encode(text).ids


def test_gemma3_is_sentence_pieces(gemma3: Tokenizer) -> None:
    processor = _sentence_piece(GGUFFile(packaged.gemma3()))
    for text in TEXTS + _random_texts(500):
        if "\x00" not in text:  # which ends SentencePiece's input
            found = gemma3.encode(text, add_special=False, parse_special=False)
            assert found == processor.encode(text), text


def _sentence_piece(file: GGUFFile) -> SentencePieceProcessor:
    """Google's own implementation, with the file's pieces and scores."""
    prefix = "tokenizer.ggml."
    model = sentencepiece_model_pb2.ModelProto()
    for piece, score, kind in zip(
        file.require(f"{prefix}tokens", tuple),
        file.metadata[f"{prefix}scores"].tolist(),
        file.metadata[f"{prefix}token_type"].tolist(),
        strict=True,
    ):
        spelled = piece.replace(" ", "▁") if kind == TokenType.USER_DEFINED else piece
        kind = TokenType.UNKNOWN if piece == "<unk>" else kind
        model.pieces.add(piece=spelled, score=score, type=kind)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type = trainer.BPE
    trainer.byte_fallback = True
    trainer.pad_id, trainer.eos_id, trainer.bos_id, trainer.unk_id = range(4)
    trainer.bos_piece, trainer.eos_piece, trainer.pad_piece = "<bos>", "<eos>", "<pad>"
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = False
    return SentencePieceProcessor(model_proto=model.SerializeToString())


def test_chat_is_transformers(smollm2: Tokenizer) -> None:
    data, config = smollm2.to_bytes()
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_bytes(data, config)._library, **json.loads(config)
    )
    for messages in (QUESTION, [{"role": "system", "content": "Be brief."}, *QUESTION]):
        expected = theirs.apply_chat_template(messages, add_generation_prompt=True)
        assert smollm2.encode_chat(messages) == expected["input_ids"]


def test_chat_without_a_template(gemma3: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="chat template: expected one in the model, found no"):
        gemma3.encode_chat(QUESTION)


@pytest.mark.parametrize(
    "template", ["{{ bos_token }}{{ messages[0].content }}", "{{ messages[0].content }}"]
)
def test_chat_has_one_bos(gemma3: Tokenizer, template: str) -> None:
    data, config = gemma3.to_bytes()
    config = json.dumps(json.loads(config) | {"chat_template": template}).encode()
    tokenizer = Tokenizer.from_bytes(data, config)
    assert tokenizer.encode_chat([{"role": "user", "content": FRANCE}]) == gemma3.encode(FRANCE)


def test_damaged_bytes(smollm2: Tokenizer) -> None:
    data, config = smollm2.to_bytes()
    values = json.loads(config)
    del values["pad_token"], values["unk_token"]
    unigram = json.dumps({"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0}})
    for arguments, message in (
        ((data[:-1], config), "tokenizer.json: expected a tokenizer, found"),
        ((b"\xff", config), "tokenizer.json: expected a tokenizer, found"),
        ((unigram.encode(), config), "tokenizer.json: expected a BPE model, found Unigram"),
        ((data, config[:-1]), "tokenizer_config.json: expected JSON, found"),
        ((data, b"\xff\xfe"), "tokenizer_config.json: expected JSON, found"),
        ((data, b"[]"), "tokenizer_config.json: expected an object, found list"),
        (
            (data, json.dumps(values | {"eos_token": "<none>"}).encode()),
            "tokenizer_config.json: eos_token: expected a token of tokenizer.json, found '<none>'",
        ),
    ):
        with pytest.raises(TokenizerError) as caught:
            Tokenizer.from_bytes(*arguments)
        assert str(caught.value).startswith(message) and len(str(caught.value).splitlines()) == 1


def test_tokens_with_attributes_in_the_config(smollm2: Tokenizer) -> None:
    data, config = smollm2.to_bytes()
    values = json.loads(config)
    values["eos_token"] = {"content": values["eos_token"], "lstrip": False}
    assert Tokenizer.from_bytes(data, json.dumps(values).encode()).eos_ids == smollm2.eos_ids
