"""Printing: streaming, JSON that is JSON, tables that grep reads."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from io import StringIO

import pytest

from auricle.cli import show
from auricle.types import Answer, Chunk, Timings


def answer(text: str) -> Answer:
    return Answer(text, (1,), "stop", 1, (), Timings())


def test_text_is_printed_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    printed: list[str] = []

    def chunks() -> Iterator[Chunk]:
        for text in (" One", " two ", "", "three", " \n"):
            yield Chunk(text)
            printed.append(capsys.readouterr().out)
        yield Chunk("", answer("One two three"))

    show.stream(chunks())
    assert printed == ["One", " two", "", " three", ""]
    assert capsys.readouterr().out == "\n"


@pytest.mark.parametrize(
    ("texts", "whole"),
    [(["a", " b", " "], "a b"), (["\n", "  a", "\n\n", "b"], "a\n\nb"), ([" "], ""), ([], "")],
)
def test_what_is_printed_in_the_end_is_the_answer(
    capsys: pytest.CaptureFixture[str], texts: list[str], whole: str
) -> None:
    got = show.stream(iter([*map(Chunk, texts), Chunk("", answer(whole))]))
    printed = capsys.readouterr()
    assert got.text == whole
    assert printed.out == whole + "\n"
    assert printed.err == ("" if whole else "note: the answer is empty\n")


@pytest.mark.parametrize(("first", "left"), [("begun", "begun\n"), ("", "")])
def test_a_line_that_was_begun_is_ended_whatever_happens(
    capsys: pytest.CaptureFixture[str], first: str, left: str
) -> None:
    def interrupted() -> Iterator[Chunk]:
        yield Chunk(first)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show.stream(interrupted())
    assert capsys.readouterr().out == left


def test_json_has_null_for_what_it_has_no_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    show.as_json({"a": math.nan, "b": [math.inf, 1.5], "c": ({"d": -math.inf},), "e": "Ä"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": None, "b": [None, 1.5], "c": [{"d": None}], "e": "Ä"}
    assert "Ä" in out
    assert out.count("\n") == 1


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_no_control_characters_from_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    show.line("a\x1b]0;title\x07\tb\nc\x9b31m\r")
    assert terminal.getvalue() == "a]0;title\tb\nc31m\n"


def test_a_table_elsewhere_is_plain_columns() -> None:
    out = StringIO()
    show.table("sizes", ("part", "size"), [("a", 1), ("longer", 0.123456)], out)
    assert out.getvalue() == "# sizes\npart    size\na       1\nlonger  0.1235\n\n"


def test_a_table_on_a_terminal_is_drawn_and_its_brackets_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    show.table("tokens", ("token",), [("[bold]",)], terminal)
    assert "[bold]" in terminal.getvalue()
    assert "─" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with show.waiting("listening"):
        pass
    assert "listening" in terminal.getvalue()
    assert "\x1b[3" not in terminal.getvalue()  # 30 to 37 are colours


@pytest.mark.parametrize(
    ("count", "spelled"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (10_246_621_918, "10.2 GB")]
)
def test_sizes(count: int, spelled: str) -> None:
    assert show.size(count) == spelled
