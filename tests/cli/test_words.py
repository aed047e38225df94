"""Which words of `auricle ask` are sounds, and which is the question."""

from __future__ import annotations

from pathlib import Path

import pytest

from auricle.cli.sounds import looks_like_file, split_question
from auricle.errors import SoundError
from auricle.types import DEFAULT_QUESTION


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a.wav, b.wav and a file that is named like a question."""
    for name in ("a.wav", "b.wav", "who"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "sounds", "question"),
    [
        (["a.wav"], ["a.wav"], DEFAULT_QUESTION),
        (["-"], ["-"], DEFAULT_QUESTION),
        (["a.wav", "-"], ["a.wav", "-"], DEFAULT_QUESTION),
        (["a.wav", "b.wav"], ["a.wav", "b.wav"], DEFAULT_QUESTION),
        (["a.wav", "b.wav", "Which is louder?"], ["a.wav", "b.wav"], "Which is louder?"),
        (["-", "What is said?"], ["-"], "What is said?"),
        (["a.wav", "Transcribe."], ["a.wav"], "Transcribe."),
        (["a.wav", "describe"], ["a.wav"], "describe"),
        (["a.wav", "Speech/music?"], ["a.wav"], "Speech/music?"),
        (["a.wav", "Speech or music, e.g. a piano"], ["a.wav"], "Speech or music, e.g. a piano"),
        (["a.wav", "Is it louder than b.wav?"], ["a.wav"], "Is it louder than b.wav?"),
        (["a.wav", ""], ["a.wav"], ""),
        (["a.wav", "x" * 5000], ["a.wav"], "x" * 5000),  # too long for a path
        (["a.wav", "a\0b"], ["a.wav"], "a\0b"),
        (["a.wav", "who"], ["a.wav", "who"], DEFAULT_QUESTION),  # a file that is there is a file
        # Not there, but meant as files: they are to be reported, not asked.
        (["missing.wav"], ["missing.wav"], DEFAULT_QUESTION),
        (["missing.wav", "What?"], ["missing.wav"], "What?"),
        (["a.wav", "clip2.mp3"], ["a.wav", "clip2.mp3"], DEFAULT_QUESTION),
        (["a.wav", "my second clip.wav"], ["a.wav", "my second clip.wav"], DEFAULT_QUESTION),
        (["a.wav", "./second"], ["a.wav", "./second"], DEFAULT_QUESTION),
        (["a.wav", "sounds/"], ["a.wav", "sounds/"], DEFAULT_QUESTION),
        (["a.wav", "https://example.org/b"], ["a.wav", "https://example.org/b"], DEFAULT_QUESTION),
    ],
)
def test_the_last_word_is_the_question_unless_it_is_or_was_meant_as_a_file(
    words: list[str], sounds: list[str], question: str
) -> None:
    assert split_question(words) == (sounds, question)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "words", [["What is said?"], ["What is said?", "a.wav"], ["a.wav", "What", "is", "said"], ["a.wav", "What?", "-"]]
)
def test_a_question_elsewhere_is_told_where_it_belongs(words: list[str]) -> None:
    with pytest.raises(SoundError, match="sounds first, then the question in quotes"):
        split_question(words)


@pytest.mark.parametrize("word", ["clip.WAV", "a b.flac", "x.webm", "dir/clip", "~/clip", "C:\\clip", "notes.txt"])
def test_what_looks_like_a_file(word: str) -> None:
    assert looks_like_file(word)


@pytest.mark.parametrize("word", ["What?", "Is it a.wav?", "Yes/no?", "loud", "A. B. C.", "3.14", "piano or flute"])
def test_what_does_not(word: str) -> None:
    assert not looks_like_file(word)
