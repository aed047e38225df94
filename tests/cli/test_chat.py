"""`auricle chat`, its lines piped in."""

from __future__ import annotations

from pathlib import Path

import pytest

import auricle as library
from auricle.types import Message
from tests.cli.conftest import Run


@pytest.fixture
def chat(auricle: Run, e2b: Path, sounds: Path) -> Run:
    return lambda *arguments, **rest: auricle(
        "chat", sounds / "tone.wav", *arguments, "--model", e2b, "--max-tokens", 4, **rest
    )


def test_every_line_is_answered_with_what_was_said_before(chat: Run, e2b: Path, sounds: Path) -> None:
    talk = library.api.Chat(library.load(str(e2b)), str(sounds / "tone.wav"))
    expected = [
        chunk.answer.text
        for line in ("What is said?", "And then?")
        for chunk in talk.say(line, max_tokens=4)
        if chunk.answer is not None
    ]
    done = chat(stdin=b"What is said?\n\n   \nAnd then?\n")
    assert done.status == 0
    assert done.out == "".join(text + "\n" for text in expected)
    first = talk.messages[0]
    assert first.parts[0] == "What is said?"
    assert len(first.parts) == 2, "the first turn carries the sound"
    assert talk.messages[2] == Message("user", ("And then?",))


def test_quit_and_the_end_of_input_end_it(chat: Run) -> None:
    assert chat(stdin=b"").out == ""
    done = chat(stdin=b"/quit\nWhat is said?\n")
    assert (done.status, done.out, done.err) == (0, "", "")
    assert chat(stdin=b"What is said?").out != ""  # a last line without a line break


def test_notes_and_timings_go_to_stderr(chat: Run) -> None:
    done = chat("--timings", stdin=b"What?\nWhat?\n")
    assert done.err.count("note: the answer was cut after 4 tokens (max_tokens)") == 2
    assert done.err.count("first token after") == 2
    assert done.err.count("loading") == 1


def test_a_constraint_holds_every_answer(chat: Run) -> None:
    done = chat("--choices", "yes,no", stdin=b"Is it loud?\nIs it long?\n")
    assert [line in ("yes", "no") for line in done.out.splitlines()] == [True, True]
