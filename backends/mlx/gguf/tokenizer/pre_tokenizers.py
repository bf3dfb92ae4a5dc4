r"""How byte-level BPE vocabularies split text into words, by the name in `tokenizer.ggml.pre`.

The names and what they do are llama.cpp's (`src/llama-vocab.cpp` and `src/unicode.cpp`, v0.4.0),
whose ids `testing_llama_cpp.py` recorded. The expressions of a row are applied one after another,
each to the pieces that the one before left; what an expression does not match stays a piece too.
They are read as `expressions.py` says. Where llama.cpp departs from a model's own `tokenizer.json`,
its ids are what counts: outside ASCII, no capitals (`tekken`, `gpt-4o`, `tiny_aya`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class PreTokenizer(NamedTuple):
    """One way of splitting.

    Attributes:
        splits: regular expressions, in the order they apply.
        whole_words: a word that is itself a token is taken as it is, whatever the merges give.
        add_bos: whether a prompt starts with the BOS token where the file does not say.
        no_bos: the vocabulary has no BOS token where the file names none.
        plain: tokens are spelled as text, not as byte letters; bytes are tokens such as <0x0A>.
        spaces: with `plain`, what a space becomes before the text is split.
        always_bos: a prompt starts with BOS even where the file says no.
    """

    splits: tuple[str, ...]
    whole_words: bool = False
    add_bos: bool = False
    no_bos: bool = False
    plain: bool = False
    spaces: str = " "
    always_bos: bool = False


_ENDINGS = r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_LINES_AND_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SYMBOLS = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_LINES_AND_SPACES}"
_SLASHES = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_LINES_AND_SPACES}"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_ENDINGS}|{_LETTERS}|\p{{N}}{{1,3}}|{_SYMBOLS}"
_QWEN2 = rf"{_ENDINGS}|{_LETTERS}|\p{{N}}|{_SYMBOLS}"
_CJK = r"[一-龥぀-ゟ゠-ヿ]+"
_LINES = r"[^\n]+|[\n]+"

# Capitals first, then small letters; those outside ASCII are both.
_UPPER, _LOWER = r"(?:(?![a-z])\p{L})", r"(?:(?![A-Z])\p{L})"
_MARKED_UPPER, _MARKED_LOWER = r"(?:(?![a-z])[\p{L}\p{M}])", r"(?:(?![A-Z])[\p{L}\p{M}])"


def _words(upper: str, lower: str, after: str = "") -> str:
    before = r"[^\r\n\p{L}\p{N}]?"
    return f"{before}{upper}*{lower}+{after}|{before}{upper}+{lower}*{after}"


_TEKKEN = rf"{_words(_UPPER, _LOWER)}|\p{{N}}|{_SLASHES}"
_GPT4O = rf"{_words(_UPPER, _LOWER, f'(?:{_ENDINGS})?')}|\p{{N}}{{1,3}}|{_SLASHES}"
_GRANITE = rf"{_words(_MARKED_UPPER, _MARKED_LOWER, f'(?:{_ENDINGS})?')}|\p{{N}}{{1,3}}|{_SLASHES}"
_MARKED = rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+(?:{_ENDINGS})?"

# Digits in threes from the right; what stands before them belongs to the first group.
_THREES = r"\P{N}*\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"

_DEEPSEEK3 = (
    r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_LINES_AND_SPACES}"
)

# llama.cpp's own list of Han characters.
_HAN = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B820}-\x{2CEAF}\x{2CEB0}-\x{2EBEF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
_KIMI = (
    rf"{_HAN}+|[^\r\n\p{{L}}\p{{N}}]?(?:(?!{_HAN})\p{{L}})+(?:{_ENDINGS})?"
    rf"|\p{{N}}{{1,3}}|{_SYMBOLS}"
)

# DeepSeek's letters that have a case.
_CASED = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ"
    "ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-"
    "ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_DEEPSEEK_SCRIPTS = r"(?:(?!\s)[\x{800}-\x{9FA5}\x{AC00}-\x{D7FF}])+"
_AFMOE_SCRIPTS = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF}"
    r"\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{E80}-\x{EFF}\x{1780}-\x{17FF}"
    r"\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+"
)
_JAIS2_SPACES = "|".join(
    [
        r"\s*[\r\n]+",
        *(rf"\s{{{count}}}(?!\S)" for count in (512, 256, 128, 64, 32, 16, 8, 4, "1,2")),
    ]
)

_ROWS = (
    (
        PreTokenizer((_GPT2,)),
        "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt"
        " olmo jais trillion granite-docling exaone4 jina-v1-en jina-v2-code roberta-bpe",
    ),
    (
        PreTokenizer((r"\p{N}", _GPT2)),
        "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    ),
    (PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")), "default"),
    (PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")), "falcon"),
    (
        PreTokenizer((_LLAMA3,), whole_words=True, add_bos=True),
        "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    ),
    (PreTokenizer((_LLAMA3,)), "dbrx smaug-bpe"),
    (PreTokenizer((_LLAMA3,), no_bos=True), "glm4 chatglm-bpe"),
    (
        PreTokenizer(
            (r"\p{N}{1,3}", rf"{_ENDINGS}|{_LETTERS}|\p{{N}}+|{_SYMBOLS}"), whole_words=True
        ),
        "minicpm5",
    ),
    (
        PreTokenizer(
            (
                rf"{_ENDINGS}|{_LETTERS}|\p{{N}}{{1,3}}"
                rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_JAIS2_SPACES}|\s",
            )
        ),
        "jais-2",
    ),
    (
        PreTokenizer((_QWEN2,)),
        "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    ),
    (PreTokenizer((_LINES, _QWEN2)), "laguna"),
    (
        PreTokenizer(
            (
                rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
                rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_LINES_AND_SPACES}",
            )
        ),
        "qwen35",
    ),
    (
        PreTokenizer(
            (
                rf"{_ENDINGS}|{_LETTERS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
                r"|\s*[\r\n]|\s+(?!\S)|\s+",
            )
        ),
        "bailingmoe bailingmoe2 llada-moe",
    ),
    (
        PreTokenizer(
            (rf"{_ENDINGS}|{_LETTERS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_LINES_AND_SPACES}",)
        ),
        "seed-coder",
    ),
    (
        PreTokenizer(
            (
                rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+"
                r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
            )
        ),
        "exaone-moe",
    ),
    (PreTokenizer((_TEKKEN,), whole_words=True, add_bos=True), "tekken"),
    (PreTokenizer((_GPT4O,)), "gpt-4o llama4 kanana2 talkie minimax-m2"),
    (PreTokenizer((_GRANITE,), whole_words=True), "granite-embed-multi-97m"),
    (
        PreTokenizer((_THREES, rf"{_MARKED}|\p{{N}}{{1,3}}|{_SLASHES}")),
        "tiny_aya cohere2moe",
    ),
    (
        PreTokenizer(
            (
                r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
                rf"{_MARKED}|\p{{N}}|{_SLASHES}",
            ),
            whole_words=True,
        ),
        "youtu",
    ),
    (
        PreTokenizer(
            (
                r"[\r\n]",
                rf"\s?[{_CASED}]+",
                r"\s?[!-/:-~！-／：-～‘-‟、。]+",
                r"\s+\z",
                _DEEPSEEK_SCRIPTS,
                r"\p{N}+",
            )
        ),
        "deepseek-llm",
    ),
    (
        PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _DEEPSEEK_SCRIPTS, r"\p{N}")),
        "deepseek-coder",
    ),
    (
        PreTokenizer((r"\p{N}{1,3}", _CJK, _DEEPSEEK3)),
        "deepseek-v3 hunyuan-dense joyai-llm",
    ),
    (PreTokenizer((_THREES, _AFMOE_SCRIPTS, _DEEPSEEK3)), "afmoe"),
    (PreTokenizer((_KIMI,)), "kimi-k2"),
    (
        PreTokenizer((r"\p{N}+", r"[\s\S](?:(?!(?:[0-9]{3})+(?![0-9]))[\s\S])*")),
        "superbpe",
    ),
    (PreTokenizer((r" ?[^(\s|.,!?…。，、।۔،)]+",)), "poro-chat bloom gpt3-finnish"),
    (PreTokenizer((r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}")), "viking"),
    (
        PreTokenizer(
            (
                "<sentinel:[0-9]+>",
                "IMGIMG[A-I]{1,4}Z",
                r"[\t\n]|    |  ",
                r"\p{N}",
                r"[\p{P}!-/:-@\[-`{-~]",
                _GPT2,
            ),
            add_bos=True,
        ),
        "chameleon",
    ),
    (
        PreTokenizer((_LINES,), plain=True, spaces="\u2581", always_bos=True),
        "gemma4 granite-embed-multi-311m",
    ),
    (PreTokenizer((_LINES,), plain=True, spaces="\u2581"), "sarvam-moe"),
    (PreTokenizer((r"\S+",), plain=True), "whitespace"),
)

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    name: row for row, names in _ROWS for name in names.split()
}
