"""How a sound would go on."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.audiolm.making.edges import onward
from auricle.audiolm.making.source import EDGE, frames_after, frames_before
from tests.audiolm.making.fakes import FRAME, PcmCodec, wave


@pytest.mark.parametrize("cut", [4000, 4007, 900])
def test_a_tone_goes_on(cut: int) -> None:
    whole = wave(1.0, 220)
    np.testing.assert_allclose(onward(whole[:cut], 300), whole[cut : cut + 300], atol=0.02)


def test_silence_and_next_to_nothing() -> None:
    assert not onward(np.zeros(1000, np.float32), 100).any()
    for samples in (np.ones(1, np.float32), np.zeros(0, np.float32)):
        assert onward(samples, 10).shape == (10,)


def test_noise_does_not_run_away() -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, 5000).astype(np.float32)
    assert np.abs(onward(noise, 5000)).max() < 1.5


class Looking(PcmCodec):
    """Each code depends on the frames beside it, as an encoder's do."""

    def encode(self, samples: np.ndarray) -> np.ndarray:
        codes = super().encode(samples)
        padded = np.pad(codes, ((EDGE, EDGE), (0, 0)), "reflect")
        return sum(padded[at : at + len(codes)] for at in range(2 * EDGE + 1)) // (2 * EDGE + 1)  # type: ignore[return-value]


def test_codes_at_an_edge_are_those_of_the_whole() -> None:
    codec, whole = Looking(), wave(2.0, 173)
    codes = codec.encode(whole)
    middle = len(codes) // 2
    before = frames_before(whole[: middle * FRAME], middle * FRAME, 50, codec)
    after = frames_after(whole, middle * FRAME, 50, codec)
    assert np.abs(before - codes[middle - 50 : middle]).max() < 20, "of 4096"
    assert np.abs(after - codes[middle : middle + 50]).max() < 20
    mirrored = codec.encode(whole[: middle * FRAME])[-50:]
    assert np.abs(mirrored - codes[middle - 50 : middle]).max() > 200, "what a cut alone does"
