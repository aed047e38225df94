"""Free answers, read: what each rule takes, and what it must not take for a label."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.evaluation.classifiers.parser import Reading, read_label

BINARY = ("speech", "nonspeech")
OPTIONS = {"A": "speech", "B": "nonspeech"}
MANY = ("dog", "cat", "church bells", "rain", "speech")
S, N = BINARY


def binary(answer: str, **how: Any) -> Reading:
    return read_label(answer, BINARY, **how)


@pytest.mark.parametrize(
    ("answer", "label", "rule"),
    [
        ("speech", S, "exact"),
        ("SPEECH.", S, "exact"),
        ("**Speech**", S, "exact"),
        ("non-speech", N, "named"),
        ("Nonspeech", N, "exact"),
        # The mistakes that others made.
        ("speech with background noise", S, "named"),
        ("Speech in a noisy street, non-stop", S, "named"),
        ("Now a man says something", None, "nothing"),
        ("A dog", None, "nothing"),
        ("A dog barks.", None, "nothing"),
        # Denied.
        ("no speech", N, "named"),
        ("No speech is heard.", N, "named"),
        ("not speech", N, "named"),
        ("There is no one speaking.", N, "denied"),
        ("Nobody is speaking.", N, "denied"),
        ("Noone talks here", N, "denied"),
        ("There isn't any human speech.", N, "denied"),
        ("There isn\u2019t any speech", N, "denied"),
        ("The audio is without speech", N, "denied"),
        ("an absence of speech", N, "denied"),
        ("Speech is absent.", N, "denied"),
        ("Speech is not present.", N, "denied"),
        ("Speech cannot be heard", N, "denied"),
        ("It is speech-free.", N, "denied"),
        ("I hear neither speech nor music.", N, "denied"),
        ("This is not nonspeech.", S, "denied"),
        ("There is no doubt: speech.", S, "named"),
        ("No doubt this is speech", S, "named"),
        ("not music but speech", S, "named"),
        ("It is noise, not a voice; nobody talks.", N, "denied"),
        ("It is speech, not nonspeech.", S, "named"),
        ("nonspeech, no speech", N, "named"),
        ("A person is talking", S, "named"),
        # Unknown.
        ("", None, "empty"),
        (" ...\n", None, "empty"),
        ("speech or nonspeech", None, "several"),
        ("It could be either speech or non-speech", None, "several"),
        ("I can't tell if this is speech.", None, "unsure"),
        ("I'm not sure, speech maybe", None, "unsure"),
        ("Speech? There is no trace of a voice.", None, "contradiction"),
        ("no music and speech", None, "unclear"),
        ("a speech-like sound", None, "nothing"),
        ("a speechless crowd", None, "nothing"),
        ("Silence.", None, "nothing"),
        ("Yes", None, "nothing"),
        ("A", None, "nothing"),
    ],
)
def test_of_two(answer: str, label: str | None, rule: str) -> None:
    assert binary(answer) == Reading(label, rule)


@pytest.mark.parametrize(
    ("answer", "label", "rule"),
    [
        ("A", S, "option"),
        ("b", N, "option"),
        ("A)", S, "option"),
        ("(B)", N, "option"),
        ("A.", S, "option"),
        ("B: nonspeech", N, "option"),
        ("A) SPEECH", S, "option"),
        ("Option B", N, "option"),
        ("The answer is A", S, "option"),
        ("The correct answer is: (B) NONSPEECH.", N, "option"),
        ("Answer: A. Someone is talking.", S, "option"),
        ("A dog", None, "nothing"),
        ("A man speaks", S, "named"),
        ("B-flat", None, "nothing"),
        ("A) NONSPEECH", None, "contradiction"),
        ("A) or B)", None, "several"),
        ("C) music", None, "nothing"),
        ("A nonspeech sound", N, "named"),
    ],
)
def test_of_two_options(answer: str, label: str | None, rule: str) -> None:
    assert binary(answer, letters=OPTIONS) == Reading(label, rule)


def test_letters_follow_the_order_of_the_labels() -> None:
    assert binary("A", letters={"A": N, "B": S}) == Reading(N, "option")


@pytest.mark.parametrize(
    ("answer", "label", "rule"),
    [
        ("Yes", S, "exact"),
        ("no.", N, "exact"),
        ("No, nobody speaks.", N, "yes/no"),
        ("Yes, a man is talking.", S, "yes/no"),
        ("Yes - loud and clear", S, "yes/no"),
        ("Now a man walks by", None, "nothing"),
        ("Nothing", None, "nothing"),
        ("Yesterday", None, "nothing"),
        ("No one is speaking", N, "denied"),
        ("No speech", N, "named"),
        ("Yes, no.", None, "contradiction"),
        ("No, yes.", None, "contradiction"),
        ("Yes, there is no speech.", None, "contradiction"),
        ("Yes, this is nonspeech.", None, "contradiction"),
        ("yes and no", None, "nothing"),
    ],
)
def test_yes_and_no(answer: str, label: str | None, rule: str) -> None:
    forms = {S: ["Yes", "yes."], N: ["No"]}
    assert binary(answer, forms=forms, yes_no=(S, N)) == Reading(label, rule)


def test_yes_is_no_label_of_a_prompt_that_does_not_ask_for_it() -> None:
    assert binary("Yes, of course.") == Reading(None, "nothing")


@pytest.mark.parametrize(
    ("answer", "label", "rule"),
    [
        ("dog", "dog", "exact"),
        ("A dog barks in the rain.", None, "several"),
        ("A dog barks.", "dog", "named"),
        ("Two dogs", "dog", "named"),
        ("Church bells ringing, no rain", "church bells", "named"),
        ("a church", None, "nothing"),
        ("No dog", None, "nothing"),  # of many, what it is not says little
        ("It is not a dog, it is a cat", "cat", "named"),
        ("not a dog or a cat", None, "nothing"),
        ("hotdogs, concatenated", None, "nothing"),
        ("Someone is talking", "speech", "named"),
    ],
)
def test_of_many(answer: str, label: str | None, rule: str) -> None:
    assert read_label(answer, MANY) == Reading(label, rule)


def test_articles_and_underscores_of_labels_do_not_matter() -> None:
    assert read_label("It was the dog.", ["a dog", "a_cat"]) == Reading("a dog", "named")
    assert read_label("there is speech", ["speech", "no_speech"]) == Reading("speech", "named")
    assert read_label("no-speech", ["speech", "no_speech"]).label == "no_speech"
    assert read_label("there is no speech", ["speech", "not speech"]) == Reading("not speech", "named")


def test_labels_that_look_alike_are_not_told_apart() -> None:
    assert read_label("a us citizen", ["US", "us"]).label is None


LABELS = st.sampled_from([BINARY, MANY, ("yes", "no"), ("a dog", "no dog"), ("music", "noise", "tone")])
WORDS = st.lists(
    st.sampled_from([*"A B C a , . : ( ) - not no and or but isn't is the with".split(), *MANY, *BINARY, "now", "'"]),
    max_size=12,
).map(" ".join)


@given(st.one_of(st.text(max_size=60), WORDS), LABELS, st.booleans())
def test_anything_is_read_as_a_label_or_unknown(answer: str, labels: tuple[str, ...], lettered: bool) -> None:
    letters = {chr(65 + place): label for place, label in enumerate(labels)} if lettered else None
    found = read_label(answer, labels, letters=letters)
    assert found.label is None or found.label in labels
    assert found == read_label(answer.upper().lower(), labels, letters=letters) or not answer.isascii()
    assert found == read_label(f" {answer}\n", labels, letters=letters)


@given(LABELS, st.data())
def test_each_label_says_itself(labels: tuple[str, ...], data: st.DataObject) -> None:
    label = data.draw(st.sampled_from(labels))
    written = data.draw(st.sampled_from([label, label.upper(), f"{label}.", f'"{label}"', f"\n{label.capitalize()} "]))
    assert read_label(written, labels) == Reading(label, "exact")


@given(st.sampled_from(["a recording of", "this is", "i hear", "clearly"]), st.sampled_from(MANY))
def test_a_denial_never_says_the_label_that_it_denies(before: str, label: str) -> None:
    for denial in ("no", "not", "there isn't any", "without"):
        assert read_label(f"{before} {denial} {label}", MANY).label is None
        assert read_label(f"{before} {denial} {label}", (label, "other")).label == "other"


@given(st.permutations(MANY))
def test_the_order_of_the_labels_does_not_matter(labels: list[str]) -> None:
    for answer in ("a dog, not a cat", "rain", "speech over church bells", "no dog"):
        assert read_label(answer, labels) == read_label(answer, MANY)
