"""`auricle transcribe`: text, JSON, several files."""

from __future__ import annotations

from pathlib import Path

import pytest

import auricle as library
from tests.cli.conftest import Run


@pytest.fixture
def transcribe(auricle: Run, e2b: Path) -> Run:
    return lambda *arguments, **rest: auricle("transcribe", *arguments, "--model", e2b, "--max-tokens", 4, **rest)


def test_the_text_is_the_librarys(transcribe: Run, e2b: Path, sounds: Path) -> None:
    expected = library.load(str(e2b)).transcribe(str(sounds / "tone.wav"), max_tokens=4)
    done = transcribe(sounds / "tone.wav")
    assert (done.status, done.out) == (0, expected.text + "\n")
    assert done.err == "".join(f"note: {note}\n" for note in expected.notes)


def test_language(transcribe: Run, sounds: Path) -> None:
    assert transcribe(sounds / "tone.wav", "--language", "German").out != transcribe(sounds / "tone.wav").out


def test_json_has_the_pieces_with_their_times(transcribe: Run, e2b: Path, sounds: Path) -> None:
    done = transcribe(sounds / "long.wav", "--json")
    assert done.err == ""
    record = done.json
    assert set(record) == {"model", "source", "text", "segments", "notes"}
    assert (record["model"], record["source"]) == (str(e2b), str(sounds / "long.wav"))
    first, second = record["segments"]
    assert set(first) == {"source", "start_s", "end_s", "text", "notes"}
    assert first["start_s"] == 0
    assert first["end_s"] == second["start_s"]
    assert second["end_s"] == 36
    assert record["text"] == " ".join(segment["text"] for segment in (first, second) if segment["text"])


def test_several_files_are_named(transcribe: Run, sounds: Path) -> None:
    noise, tone = sounds / "noise.wav", sounds / "tone.wav"
    lines = transcribe(noise, tone).out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(noise), str(tone)]
    assert lines[1].removeprefix(f"{tone}: ") == transcribe(tone).out.removesuffix("\n")
    records = transcribe(noise, "-", "--json", stdin=tone.read_bytes()).json_lines
    assert [record["source"] for record in records] == [str(noise), "stdin"]


def test_a_bad_file_among_good_ones_is_reported_and_the_rest_is_done(transcribe: Run, sounds: Path) -> None:
    done = transcribe(sounds / "noise.wav", "missing.wav", sounds / "tone.wav", "--json")
    assert done.status == 2
    assert len(done.json_lines) == 2
    assert done.err == "auricle: there is no file missing.wav; check the path\n"
