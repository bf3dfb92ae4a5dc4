"""The merges of a BPE tokenizer, in the order of their rank: listed in the file, or by scores."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from backends.mlx.gguf.checkpoint.tensor import quoted
from backends.mlx.gguf.tokenizer.vocabulary import (
    PREFIX,
    TokenType,
    Vocabulary,
    error,
    per_token,
)

# SentencePiece's spelling of a space.
SPACE = "\u2581"

Merges = list[tuple[str, str]]


def listed(vocabulary: Vocabulary, letters: Collection[str] | None) -> tuple[Merges, list[str]]:
    """The merges in `tokenizer.ggml.merges` that can apply, and the texts they need as tokens.

    llama.cpp asks nothing of a merge: one whose parts cannot come about never applies, and one
    whose result is no token leaves a text that is looked up byte by byte. So such a text must be
    a token of the library's, though the vocabulary lacks it.

    Args:
        letters: the characters that a text can hold before any merge, None for any.

    Raises:
        GGUFError: there is no such array.
    """
    file = vocabulary.file
    every = file.require(f"{PREFIX}merges", tuple)
    # The first rank counts. A space at the start belongs to the first part.
    cuts = [(text, text.find(" ", 1)) for text in every]
    pairs = dict.fromkeys((text[:cut], text[cut + 1 :]) for text, cut in cuts if cut > 0)
    reached: set[str] = set(letters or ())
    waiting, tried = list(pairs), -1
    while tried != len(waiting):
        tried, still = len(waiting), []
        for left, right in waiting:
            if letters is None:
                reached.update(part for part in (left, right) if len(part) == 1)
            if left in reached and right in reached:
                reached.add(left + right)
            else:
                still.append((left, right))
        waiting = still
    never = set(waiting)
    merges = [pair for pair in pairs if pair not in never]
    if len(merges) < len(every):
        file.warn(f"{PREFIX}merges", f"{len(every) - len(merges)} can never apply, or occur twice")
    made = dict.fromkeys(text for pair in merges for text in (*pair, "".join(pair)))
    return merges, [text for text in made if text not in vocabulary.ids]


def scored(vocabulary: Vocabulary) -> Merges:
    """Every way to make a token of two others, those with the best result first.

    Raises:
        GGUFError: there are no scores, a score is not finite, or two results have the same.
    """
    scores = per_token(vocabulary.file, "scores", len(vocabulary.tokens)).astype(np.float32)
    if not np.isfinite(scores).all():
        index = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise error(vocabulary.file, "scores", "finite numbers", f"{scores[index]} at {index}")
    # What is cut out of a text as a whole cannot come about by merges, unless by its spaces.
    whole = set(vocabulary.of_type(TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED))
    ids, merges, best = vocabulary.ids, [], None
    for index in sorted(range(len(vocabulary.tokens)), key=(-scores).tolist().__getitem__):
        token = vocabulary.tokens[index]
        if index in whole and SPACE not in token:
            continue
        ways = [
            (token[:cut], token[cut:])
            for cut in range(1, len(token))
            if token[:cut] in ids and token[cut:] in ids
        ]
        if not ways:
            continue
        if best is not None and scores[index] == scores[best]:
            # llama.cpp takes the leftmost of the two in a text, which no list of ranks can say.
            raise error(
                vocabulary.file,
                "scores",
                "another score for each token that is made of two others",
                f"{scores[index]:g} for {quoted(vocabulary.tokens[best])} and {quoted(token)}",
            )
        merges += ways
        best = index
    return merges
