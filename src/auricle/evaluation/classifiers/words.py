"""The words of an answer, and where labels are named among them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from auricle.api.labelling import NEGATIONS

STOP = "."  # among words: where a clause ends
ARTICLES = frozenset("a an the".split())
# Other words for labels that models use instead of them. A label that isn't here is named by its own words only.
SAME: Mapping[str, tuple[str, ...]] = {
    "speech": ("speaking", "speaks", "spoken", "talking", "talks", "voice", "voices"),
    "music": ("musical",),
}
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[.,;:!?()\n\u2013\u2014]|-(?=\s)|(?<=\s)-")


@dataclass(frozen=True)
class Mention:
    """A label's words in an answer."""

    label: str
    start: int  # of its first word
    end: int  # behind its last


def words_of(text: str) -> list[str]:
    """Words in lower case, `non-speech` as two; a clause's end is a `STOP`."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return [word if word[0].isalnum() else STOP for word in _WORD.findall(plain)]


def mentions(words: Sequence[str], labels: Sequence[str]) -> list[Mention]:
    """Where labels are named, in order. Where several fit it is the longest: `no speech` names that, not `speech`."""
    named = _named(tuple(labels))
    found: list[Mention] = []
    place = 0
    while place < len(words):
        fitting = [(form, label) for form, label in named if tuple(words[place : place + len(form)]) == form]
        longest = max((len(form) for form, _ in fitting), default=0)
        best = {label for form, label in fitting if len(form) == longest}
        found += [Mention(label, place, place + longest) for label in labels if label in best]
        place += max(longest, 1)
    return found


@cache
def _named(labels: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    return [(form, label) for label in labels for form in dict.fromkeys(_forms(label, labels))]


def _forms(label: str, labels: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Sequences of words that name a label: its own, others for them, a plural; of a negation all ways to write it."""
    own = bare(label)
    yield tuple(words_of(label))
    yield own
    if denied := next((other for other in labels if is_negation(label, other)), None):
        for prefix, words in product(NEGATIONS, _simple(bare(denied))):
            yield (prefix, *words)
            yield (prefix + words[0], *words[1:])
        return
    yield from _simple(own)


def _simple(own: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield own
    if own:
        yield (*own[:-1], own[-1] + "s")
        yield from ((*own[:-1], other) for other in SAME.get(own[-1], ()))


def bare(label: str) -> tuple[str, ...]:
    """A label's words, without an article in front."""
    words = tuple(word for word in words_of(label.replace("_", " ")) if word != STOP)
    return words[1:] if len(words) > 1 and words[0] in ARTICLES else words


def is_negation(label: str, other: str) -> bool:
    """Whether a label is the other with a negation in front: nonspeech, no_speech, "not speech"."""
    own, denied = "".join(bare(label)), "".join(bare(other))
    return any(own == prefix + denied for prefix in NEGATIONS)
