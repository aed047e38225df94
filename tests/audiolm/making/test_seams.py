"""Seams with a real codec: a melody is cut, and the model knows its codes, so that only the seams are new."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from auricle.audiolm.codecs import Codec, load_codec
from auricle.audiolm.loading import Loaded
from auricle.audiolm.making import continue_audio, infill_audio
from auricle.audiolm.making.source import frames_before
from auricle.audiolm.model.prompt import Prompt
from auricle.types import Audio
from recipes.audiolm.melodies import melody
from recipes.audiolm.seams import click
from tests.audiolm.making.fakes import Echo

CUT, END = 100, 130  # frames
COUNT = 8


class Oracle(Echo):
    """Knows what follows."""

    def __init__(self, codes: np.ndarray) -> None:
        super().__init__()
        self.config.frame_rate = 50.0
        self.codes = codes

    def generate(self, prompts: list[Prompt], frames: int, *rest: object, **options: object) -> list[Tensor]:
        return [torch.from_numpy(self.codes[CUT : CUT + frames])]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec("tiny-codec")


@pytest.fixture(scope="module")
def sounds(codec: Codec) -> list[tuple[np.ndarray, np.ndarray]]:
    """Melodies that sound at the cut, and their codes."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    number = 0
    while len(found) < COUNT:
        samples = melody(np.random.default_rng((91, number)), 3.5).samples
        number += 1
        if all(np.abs(samples[at * codec.frame - 960 :][:1920]).max() > 0.05 for at in (CUT, END)):
            found.append((samples, codec.encode(samples)))
    return found


def high(samples: np.ndarray, at: int, rate: int) -> float:
    """Energy above 6 kHz in 10 ms around a place."""
    piece = samples[at - rate // 200 : at + rate // 200].astype(np.float64)
    return float((np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2)[60:].sum())


def test_a_continuation_does_not_click(codec: Codec, sounds: list[tuple[np.ndarray, np.ndarray]]) -> None:
    smooth, hard, rise = [], [], []
    at = CUT * codec.frame
    for samples, codes in sounds:
        kept = Audio(samples[:at], codec.rate, "melody")
        loaded = Loaded(Oracle(codes), codec)  # type: ignore[arg-type]
        made = continue_audio(kept, 1.0, model=loaded).audio.samples
        assert made[: at - 960].tobytes() == samples[: at - 960].tobytes()
        both = samples, codec.decode(codes)[: len(samples)]
        smooth.append(click(made, both, at - 960, at, codec.rate))
        cut = continue_audio(kept, 1.0, model=loaded, fade=0).audio.samples
        hard.append(click(cut, both, at, at, codec.rate))
        around = [high(made, at + step, codec.rate) for step in range(-6400, 6401, 320) if abs(step) > 960]
        rise.append(
            max(high(made, at + step, codec.rate) for step in (-960, -480, 0)) / (np.quantile(around, 0.9) + 1e-9)
        )
    assert max(smooth) < 1.2
    assert np.median(rise) < 1.5, "no more of high frequencies than around"
    assert max(hard) > 1.7 * max(smooth), "the measure hears a cut"


def test_a_gap_does_not_click(codec: Codec, sounds: list[tuple[np.ndarray, np.ndarray]]) -> None:
    first, end = CUT * codec.frame, END * codec.frame
    clicks = []
    for samples, codes in sounds:
        loaded = Loaded(Oracle(codes), codec)  # type: ignore[arg-type]
        made = infill_audio(Audio(samples, codec.rate, "melody"), (2.0, 2.6), model=loaded).audio.samples
        assert made[end + 960 :].tobytes() == samples[end + 960 :].tobytes()
        both = samples, codec.decode(codes)[: len(samples)]
        clicks += [click(made, both, *place, codec.rate) for place in ((first - 960, first), (end, end + 960))]
    assert max(clicks) < 1.2


def test_the_end_is_heard_as_it_was_within_the_whole(codec: Codec, sounds: list[tuple[np.ndarray, np.ndarray]]) -> None:
    at = CUT * codec.frame
    shown = np.mean([frames_before(s[:at], at, 3, codec) == c[CUT - 3 : CUT] for s, c in sounds])
    cut = np.mean([codec.encode(s[:at])[-3:] == c[CUT - 3 : CUT] for s, c in sounds])
    assert shown > cut + 0.2
