"""Which label a free answer says; None is unknown, and no guess. The first rule that fits decides, and is named.

exact    the answer is a label, or one of the ways in which the prompt would have it said: "speech", "A", "Yes."
option   it begins with a letter that stands for an option: "A) ...", "(A)", "The answer is A". "A dog" doesn't.
yes/no   of a prompt that asks for it, it begins with the word and a mark: "No, nobody speaks". "Now a man" doesn't.
named    one label is named and not denied: "speech with background noise", "speech, not music"
denied   of two labels one is denied, and none is named: "no speech" is the other one

Unknown: empty, unsure ("I can't tell"), several (more than one is named), contradiction (one is named and denied, or
the letter or the yes says another), unclear (a denial may or may not reach it: "no music and speech"), nothing (none is
named).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auricle.evaluation.classifiers.words import STOP, Mention, mentions, words_of

DENIALS = frozenset("no not non none nobody noone never without neither nor cannot absence lack lacks lacking".split())
ABSENT = frozenset(
    "not absent missing never cannot free no".split()
)  # behind a label: "speech is absent", "speech-free"
REACH = 5  # words between a denial and what it denies, at most
ASIDE = (  # words that deny nothing
    ("no", "doubt"),
    ("without", "doubt"),
    ("without", "a", "doubt"),
    ("no", "question"),
    ("not", "only"),
    ("not", "just"),
)
_UNSURE = re.compile(
    r"\b(unsure|unclear|uncertain|ambiguous|undetermined|not (sure|certain|clear)|hard to (say|tell)|"
    r"(can't|can not|cannot|could not|couldn't|unable to|impossible to|difficult to) "
    r"(tell|say|determine|identify|decide|classify|answer|hear (the|any) audio)|(don't|do not) know)\b"
)
_OPTION = re.compile(
    r"^(?:(?:the |my )?(?:(?:correct |right |best )?(?:answer|option|choice))(?: is)?:? ?)?"
    r"(?:option |choice )?(\()?([a-z])(?(1)\)|(?:[).:]|$))(.*)$",
    re.DOTALL,
)
_LETTER = re.compile(r"(?:\(|\b)([a-z])\)")
_YES_NO = re.compile(r"^(yes|no)(?:$|\s*[.,;:!\u2013\u2014-])")


@dataclass(frozen=True)
class Reading:
    """What an answer says."""

    label: str | None  # None is unknown
    rule: str  # that decided: see this file's head


def read_label(
    answer: str,
    labels: Sequence[str],
    *,
    forms: Mapping[str, Sequence[str]] | None = None,
    letters: Mapping[str, str] | None = None,
    yes_no: tuple[str, str] | None = None,
) -> Reading:
    """Reads one of the labels out of a free answer.

    Args:
        labels: two or more.
        forms: of a label, the answers that the prompt asked for.
        letters: of a prompt with options, the label behind each letter.
        yes_no: of a prompt that asks for yes or no, the label that each stands for.
    """
    words = words_of(answer)
    plain = " ".join(answer.replace("\u2019", "'").casefold().split()).strip("*_`\"' ")
    if not any(word != STOP for word in words):
        return Reading(None, "empty")
    if (exact := _exact(words, labels, forms or {})) is not None:
        return Reading(exact, "exact")
    if letters and (option := _option(plain, labels, letters)) is not None:
        return option
    if _UNSURE.search(plain):
        return Reading(None, "unsure")
    if yes_no and _YES_NO.match(plain):
        return _yes_no(words, labels, yes_no)
    return _named(words, labels)


def _exact(words: Sequence[str], labels: Sequence[str], forms: Mapping[str, Sequence[str]]) -> str | None:
    said = [word for word in words if word != STOP]
    fits = [
        label
        for label in labels
        if any([w for w in words_of(form) if w != STOP] == said for form in (label, *forms.get(label, ())))
    ]
    return fits[0] if len(fits) == 1 else None


def _option(plain: str, labels: Sequence[str], letters: Mapping[str, str]) -> Reading | None:
    found = _OPTION.match(plain)
    by_letter = {letter.casefold(): label for letter, label in letters.items()}
    if found is None or found[2] not in by_letter:
        return None
    label = by_letter[found[2]]
    if {by_letter[other] for other in _LETTER.findall(found[3]) if other in by_letter} - {label}:
        return Reading(None, "several")
    named = _named(words_of(found[3]), labels).label
    return Reading(label, "option") if named in (None, label) else Reading(None, "contradiction")


def _yes_no(words: Sequence[str], labels: Sequence[str], yes_no: tuple[str, str]) -> Reading:
    """What stands behind the word may name a label, too; then they have to agree."""
    label, other = yes_no if words[0] == "yes" else (yes_no[1], yes_no[0])
    rest = words[1:]
    if ("no" if words[0] == "yes" else "yes") in rest[:2]:
        return Reading(None, "contradiction")
    return Reading(None, "contradiction") if _named(rest, labels).label == other else Reading(label, "yes/no")


def _named(words: Sequence[str], labels: Sequence[str]) -> Reading:
    found = mentions(words, labels)
    starts = {mention.start for mention in found}
    said: dict[str, set[str]] = {}
    for mention in found:
        if words[mention.end : mention.end + 1] == ["like"]:  # "speech-like" is no speech, and not its absence
            continue
        said.setdefault(mention.label, set()).add(_standing(words, mention, starts))
    named = [label for label, how in said.items() if how == {"named"}]
    denied = [label for label, how in said.items() if how == {"denied"}]
    if any("unclear" in how for how in said.values()):
        return Reading(None, "unclear")
    if len(named) + len(denied) < len(said):
        return Reading(None, "contradiction")
    if len(named) == 1:
        return Reading(named[0], "named")
    if len(named) > 1:
        return Reading(None, "several")
    if len(denied) == 1 and len(labels) == 2:
        return Reading(next(label for label in labels if label not in denied), "denied")
    return Reading(None, "nothing")


def _standing(words: Sequence[str], mention: Mention, starts: set[int]) -> str:
    """Whether a label is named or denied where it stands, or which of these is unclear."""
    return "denied" if _absent(words, mention.end, starts) else _before(words, mention.start)


def _before(words: Sequence[str], start: int) -> str:
    """Looks back for a denial, in the same clause; past "and" it may reach this far or not."""
    joined = False
    for place in range(start - 1, max(start - 2 - REACH, -1), -1):
        word = words[place]
        if word in (STOP, "but", "just", "only", "though", "although"):
            break
        if word == "and":
            joined = True
        elif _denies(words, place):
            return "unclear" if joined else "denied"
    return "named"


def _denies(words: Sequence[str], place: int) -> bool:
    aside = any(tuple(words[place : place + len(phrase)]) == phrase for phrase in ASIDE)
    return not aside and (words[place] in DENIALS or words[place].endswith("n't"))


def _absent(words: Sequence[str], end: int, starts: set[int]) -> bool:
    """Whether what follows a label says that it isn't there, as "is not present"; "not music" is about music."""
    for place in range(end, min(end + 4, len(words))):
        word = words[place]
        if word in (STOP, "and", "or", "but", "with", "that", "without", "over", "in") or place in starts:
            return False
        if word in ABSENT or word.endswith("n't"):
            following = words[place + 1 : place + 3]
            return not any(place + 1 + offset in starts for offset in range(len(following)))
    return False
