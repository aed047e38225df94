"""/v1/audio/transcriptions and /translations: every form, by the official client; long sound, and where pieces lie."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from itertools import pairwise

import httpx2
import numpy as np
import openai
import pytest
import soundfile
import soxr

import auricle
from auricle.server.captions import srt, vtt
from auricle.types import TranscriptSegment
from tests.server.bad import WRITE
from tests.server.conftest import EXAMPLES
from tests.sound.making import written

SENTENCE, GREEN_COAT = "the old man opened the window", "where is my green coat"
RATE = 16_000


@pytest.fixture(scope="module")
def official(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def model() -> auricle.Model:
    return auricle.load("tiny", cache_mb=0)


@pytest.fixture(scope="module")
def sentence() -> bytes:
    return (EXAMPLES / "sentence.wav").read_bytes()


Said = list[tuple[float, float, str]]  # from when to when, in seconds, and what


def three_said(gap_s: float) -> tuple[bytes, Said]:
    """A file in which three things are said, silence between them."""
    said, parts, at = [], [], 0.0
    for name, text in (("sentence", SENTENCE), ("question", GREEN_COAT), ("sentence", SENTENCE)):
        samples, rate = soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")
        samples = soxr.resample(samples, rate, RATE)
        said.append((at, at + len(samples) / RATE, text))
        parts += [samples, np.zeros(int(gap_s * RATE), np.float32)]
        at += len(samples) / RATE + gap_s
    return written(np.concatenate(parts[:-1]), RATE, "FLAC", "PCM_16"), said


@pytest.fixture(scope="module")
def long_sound() -> tuple[bytes, Said]:
    """Longer than a clip."""
    return three_said(14.0)


def events(answer: httpx2.Response) -> list[dict[str, object]]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]


class TestForms:
    def test_json(self, official: openai.OpenAI, sentence: bytes) -> None:
        found = official.audio.transcriptions.create(model="tiny", file=("a.wav", sentence))
        assert found.text == SENTENCE
        assert found.usage is not None
        assert found.usage.type == "duration"
        assert found.usage.seconds == pytest.approx(1.618, abs=0.001)

    def test_text(self, official: openai.OpenAI, sentence: bytes) -> None:
        found = official.audio.transcriptions.create(model="tiny", file=("a.wav", sentence), response_format="text")
        assert found == SENTENCE + "\n"

    def test_subtitles(self, official: openai.OpenAI, sentence: bytes) -> None:
        file = ("a.wav", sentence)
        subrip = official.audio.transcriptions.create(model="tiny", file=file, response_format="srt")
        webvtt = official.audio.transcriptions.create(model="tiny", file=file, response_format="vtt")
        assert subrip == f"1\n00:00:00,000 --> 00:00:01,618\n{SENTENCE}\n\n"
        assert webvtt == f"WEBVTT\n\n00:00:00.000 --> 00:00:01.618\n{SENTENCE}\n\n"

    def test_verbose(self, official: openai.OpenAI, sentence: bytes) -> None:
        found = official.audio.transcriptions.create(
            model="tiny",
            file=("a.wav", sentence),
            response_format="verbose_json",
            timestamp_granularities=["segment"],
            language="en",
        )
        assert found.text == SENTENCE
        assert found.language == "english"
        assert found.duration == pytest.approx(1.618, abs=0.001)
        assert found.segments is not None
        assert [(piece.start, piece.end, piece.text) for piece in found.segments] == [(0.0, 1.618, SENTENCE)]

    def test_a_stream(self, official: openai.OpenAI, sentence: bytes) -> None:
        stream = official.audio.transcriptions.create(model="tiny", file=("a.wav", sentence), stream=True)
        found = list(stream)
        assert "".join(event.delta for event in found if event.type == "transcript.text.delta") == SENTENCE
        assert [event.type for event in found[-2:]] == ["transcript.text.segment", "transcript.text.done"]
        assert found[-1].text == SENTENCE
        assert len(found) > 4, "it comes word by word"

    def test_a_translation(self, official: openai.OpenAI, sentence: bytes) -> None:
        assert official.audio.translations.create(model="tiny", file=("a.wav", sentence)).text == SENTENCE
        verbose = official.audio.translations.create(
            model="tiny", file=("a.wav", sentence), response_format="verbose_json"
        )
        assert verbose.language == "english"

    def test_subtitles_escape_what_means_something_in_them(self) -> None:
        pieces = [
            TranscriptSegment("a.wav", 3599.9996, 7261.5, "a < b & c"),
            TranscriptSegment("a.wav", 7261.5, 7300.0, ""),
        ]
        assert vtt(pieces) == "WEBVTT\n\n01:00:00.000 --> 02:01:01.500\na &lt; b &amp; c\n\n"
        assert srt(pieces) == "1\n01:00:00,000 --> 02:01:01,500\na < b & c\n\n"


class TestLongSound:
    def test_pieces_are_the_librarys_and_lie_where_they_were_said(
        self, client: httpx2.Client, model: auricle.Model, long_sound: tuple[bytes, Said]
    ) -> None:
        content, said = long_sound
        form = {"model": "tiny", "response_format": "verbose_json"}
        found = client.post(WRITE, files={"file": content}, data=form).json()
        own = model.transcribe(io.BytesIO(content))
        assert [(piece["start"], piece["end"], piece["text"]) for piece in found["segments"]] == [
            (round(piece.start_s, 3), round(piece.end_s, 3), piece.text) for piece in own.segments
        ]
        assert found["text"] == own.text
        assert len(found["segments"]) > 1
        assert [piece["id"] for piece in found["segments"]] == list(range(len(found["segments"])))
        assert all(one["end"] <= other["start"] for one, other in pairwise(found["segments"]))
        assert found["duration"] == pytest.approx(said[-1][1], abs=0.001)
        for begin, end, _ in said:
            assert sum(one["start"] - 0.05 <= begin and end <= one["end"] + 0.05 for one in found["segments"]) == 1

    def test_a_stream_says_the_same(self, client: httpx2.Client, long_sound: tuple[bytes, Said]) -> None:
        content, _ = long_sound
        whole = client.post(WRITE, files={"file": content}, data={"model": "tiny", "response_format": "verbose_json"})
        found = events(client.post(WRITE, files={"file": content}, data={"model": "tiny", "stream": "true"}))
        pieces = [event for event in found if event["type"] == "transcript.text.segment"]
        fields = ("id", "start", "end", "text")
        assert [[piece[name] for name in fields] for piece in pieces] == [
            [piece[name] for name in fields] for piece in whole.json()["segments"]
        ]
        assert found[-1]["text"] == whole.json()["text"]
        deltas = "".join(str(event["delta"]) for event in found if event["type"] == "transcript.text.delta")
        assert deltas.split() == whole.json()["text"].split()

    def test_captions_are_short_and_lie_where_they_were_said(self, client: httpx2.Client) -> None:
        content, said = three_said(6.0)
        text = client.post(WRITE, files={"file": content}, data={"model": "tiny", "response_format": "srt"}).text
        captions = [caption.split("\n") for caption in text.strip().split("\n\n")]
        assert [number for number, _, _ in captions] == ["1", "2", "3"]
        for (_, times, words), (begin, end, spoken) in zip(captions, said, strict=True):
            start_s, end_s = (seconds(time) for time in times.split(" --> "))
            assert 0 < end_s - start_s <= 8.001
            assert start_s - 0.05 <= begin
            assert end <= end_s + 0.05
            assert spoken in words


def seconds(time: str) -> float:
    """Of `00:00:01,618`."""
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d),(\d{3})", time)
    assert found, time
    hours, minutes, whole, ms = map(int, found.groups())
    return 3600 * hours + 60 * minutes + whole + ms / 1000
