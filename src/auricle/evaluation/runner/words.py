"""Words right and wrong: normalisers by name, and errors counted by jiwer."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from auricle.evaluation.optional import needed

_APOSTROPHES = "'’ʼ"


def basic(text: str) -> str:
    """Lower case (casefold), NFKC, no punctuation or symbols but apostrophes inside words, single spaces."""
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = []
    for place, character in enumerate(text):
        inside = 0 < place < len(text) - 1 and text[place - 1].isalnum() and text[place + 1].isalnum()
        if character in _APOSTROPHES:
            kept.append("'" if inside else " ")
        else:
            kept.append(" " if unicodedata.category(character)[0] in "PSCZ" else character)
    return " ".join("".join(kept).split())


def spaces(text: str) -> str:
    """As it is, but for white space."""
    return " ".join(text.split())


NORMALISERS: dict[str, Callable[[str], str]] = {"basic": basic, "none": spaces}


@dataclass(frozen=True)
class Errors:
    """Edits from what was said to what was written; sum them over a set before dividing."""

    substitutions: int
    insertions: int
    deletions: int
    words: int  # of what was said
    char_edits: int
    chars: int

    @property
    def wer(self) -> float | None:
        """Word error rate; above 1 where more is inserted than said. None where nothing was said."""
        return (self.substitutions + self.insertions + self.deletions) / self.words if self.words else None

    @property
    def cer(self) -> float | None:
        return self.char_edits / self.chars if self.chars else None


def count_errors(said: str, written: str, normaliser: str) -> Errors:
    """By the shortest edit of words, and of characters (spaces included), after both are normalised."""
    jiwer = needed("jiwer", "a word error rate")
    normalise = NORMALISERS[normaliser]
    truth, guess = normalise(said), normalise(written)
    if not truth:  # jiwer takes no empty reference: every word is inserted
        return Errors(0, len(guess.split()), 0, 0, len(guess), 0)
    words, letters = jiwer.process_words(truth, guess), jiwer.process_characters(truth, guess)
    return Errors(
        words.substitutions,
        words.insertions,
        words.deletions,
        len(truth.split()),
        letters.substitutions + letters.insertions + letters.deletions,
        len(truth),
    )
