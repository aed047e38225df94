"""Normalisers, and word errors counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.evaluation.runner.words import basic, count_errors, spaces


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("  The OLD man's  hat. ", "the old man's hat"),
        ("don’t—stop!", "don't stop"),
        ("'quoted' words", "quoted words"),
        ("rock 'n' roll", "rock n roll"),
        ("STRASSE straße", "strasse strasse"),
        ("ﬁne ５", "fine 5"),
        ("co-operate, e.g. $5", "co operate e g 5"),
        ("...", ""),
    ],
)
def test_basic_leaves_words(text: str, wanted: str) -> None:
    assert basic(text) == wanted


@given(st.text(max_size=80))
def test_basic_twice_is_basic_once(text: str) -> None:
    assert basic(basic(text)) == basic(text)


def test_none_evens_out_spaces_alone() -> None:
    assert spaces(" A,  b\n") == "A, b"


def test_each_kind_of_error_is_counted() -> None:
    found = count_errors("the old man has a hat on today", "The bold man has hat on today, please.", "basic")
    assert (found.substitutions, found.insertions, found.deletions, found.words) == (1, 1, 1, 8)
    assert found.wer == pytest.approx(3 / 8)


def test_the_normaliser_matters() -> None:
    assert count_errors("a man", "A man.", "basic").wer == 0
    assert count_errors("a man", "A man.", "none").wer == 1


def test_characters_are_counted_with_spaces() -> None:
    found = count_errors("ab cd", "abcd", "basic")
    assert (found.char_edits, found.chars, found.cer) == (1, 5, 0.2)


def test_where_nothing_is_said_every_word_is_inserted_and_there_is_no_rate() -> None:
    found = count_errors("", "Thank you!", "basic")
    assert (found.insertions, found.words, found.wer, found.char_edits, found.cer) == (2, 0, None, 9, None)


def test_more_can_be_wrong_than_was_said() -> None:
    assert count_errors("no", "well I think so", "basic").wer == 4
