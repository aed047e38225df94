"""Active parts, levels and the SNR: what is measured here is measured by other means than in the code."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.evaluation.degrade import levels
from auricle.evaluation.degrade.chain import Chain, Settings
from auricle.evaluation.degrade.conditions import Condition, Factors
from auricle.evaluation.degrade.noise import SPEECH_DB, SPEECH_HZ, Kind, generated
from auricle.evaluation.degrade.pieces import Padding

RATE = 16_000


def voice(seconds: float, rate: int = RATE, level: float = 0.05) -> np.ndarray:
    """Something with syllables: tones that swell, with a pause in the middle third."""
    time = np.arange(round(seconds * rate)) / rate
    sound = np.sin(2 * np.pi * 180 * time) + 0.5 * np.sin(2 * np.pi * 720 * time)
    sound *= 1 + 0.5 * np.sin(2 * np.pi * 4 * time)
    sound[len(sound) // 3 : 2 * len(sound) // 3] = 0
    return level * sound


def chain(clip: np.ndarray, settings: Settings | None = None, **factors: object) -> Chain:
    return Chain(clip, "hash", None, Factors(**factors), settings or Settings())  # type: ignore[arg-type]


class TestActivePart:
    def test_silence_and_low_padding_are_never_in_it(self) -> None:
        """The level of a clip is the same alone and in a container, however long."""
        clip = voice(0.3)
        alone = levels.level_db(levels.power(clip, levels.active_part(clip, RATE)))
        for filling in ("silence", "noise"):
            for to_ms in (500, 2000, 10_000):
                whole, onset = Padding(filling, to_ms).around(clip, RATE, np.random.default_rng(0))  # type: ignore[arg-type]
                active = levels.active_part(whole, RATE)
                assert not active[:onset].any()
                assert abs(levels.level_db(levels.power(whole, active)) - alone) < 0.1

    def test_pauses_are_left_out(self) -> None:
        clip = voice(0.9)
        active = levels.active_part(clip, RATE)
        pause = slice(round(0.31 * RATE), round(0.59 * RATE))
        assert not active[pause].any()
        assert active[: round(0.29 * RATE)].mean() > 0.9

    def test_a_steady_sound_is_active_as_a_whole(self) -> None:
        noise = generated("white", RATE, RATE, np.random.default_rng(0))
        assert levels.active_part(noise, RATE).all()
        assert levels.active_part(noise[:50], RATE).all()  # shorter than a frame

    def test_silence_has_none(self) -> None:
        assert not levels.active_part(np.zeros(RATE), RATE).any()
        assert not levels.active_part(np.full(RATE, 1e-6), RATE).any()


class TestSnr:
    """The mistake: noise set by the level of the padded container is 3 dB too soft at 1 s in 2, and 20 dB at 20 ms."""

    @pytest.mark.parametrize("milliseconds", [20, 100, 1000])
    @pytest.mark.parametrize("snr", [-10.0, 0.0, 20.0])
    @pytest.mark.parametrize("kind", ["white", "pink", "speech"])
    def test_is_what_was_asked_for_over_the_active_part(self, milliseconds: float, snr: float, kind: str) -> None:
        """Measured on the files: the noise is what the masked one has more than the clean one."""
        settings = Settings("loudest", padding=Padding("silence", 2000))
        made = chain(voice(1.2, level=0.02), settings, durations=(milliseconds,), snr=(None, snr), noise=(kind,))
        clean = made.under(Condition(milliseconds)).samples.astype(np.float64)
        masked = made.under(Condition(milliseconds, noise=kind, snr_db=snr))
        noise = masked.samples - clean
        frames = clean[np.flatnonzero(clean)[0] : np.flatnonzero(clean)[-1] + 1]
        start = np.flatnonzero(clean)[0]
        loud = np.abs(frames) > 0  # the pause of this voice is digital silence
        ratio = np.mean(frames[loud] ** 2) / np.mean(noise[start : start + len(frames)][loud] ** 2)
        assert abs(10 * np.log10(ratio) - snr) < 0.1
        assert abs(masked.columns["snr_db_measured"] - snr) < 0.01
        assert masked.columns["snr_db_nominal"] == snr

    def test_does_not_depend_on_the_container(self) -> None:
        condition = Condition(20, noise="white", snr_db=0.0)
        clip = voice(1.0)
        alone = chain(clip, Settings("loudest"), durations=(20,)).under(condition)
        inside = chain(clip, Settings("loudest", padding=Padding("noise", 2000)), durations=(20,)).under(condition)
        onset = round(inside.columns["onset_ms"] * RATE / 1000)
        np.testing.assert_array_equal(inside.samples[onset : onset + len(alone.samples)], alone.samples)

    def test_after_a_filter_is_measured_anew(self) -> None:
        """White noise loses most of its power to a low-pass that this voice passes."""
        condition = Condition(noise="white", snr_db=0.0, filter="lowpass:1000")
        found = chain(voice(1.0)).under(condition).columns
        assert abs(found["snr_db_measured"]) < 0.01
        assert 8.5 < found["snr_db_out"] < 9.5  # 1 kHz of 8: 9 dB less noise

    def test_the_level_is_set_over_the_active_part(self) -> None:
        made = chain(voice(0.9), Settings(level_db=-30))
        samples = made.under(Condition()).samples.astype(np.float64)
        loud = np.flatnonzero(samples)
        assert abs(10 * np.log10(np.mean(samples[loud] ** 2)) + 30) < 0.1


class TestNoise:
    @pytest.mark.parametrize(("kind", "slope"), [("white", 0.0), ("pink", -3.01)])
    def test_slopes(self, kind: Kind, slope: float) -> None:
        """In dB an octave, of the density."""
        noise = generated(kind, 60 * RATE, RATE, np.random.default_rng(1))
        density = [_band(noise, hertz / 2**0.5, hertz * 2**0.5) - 10 * np.log10(hertz) for hertz in (125, 500, 2000)]
        np.testing.assert_allclose(np.diff(density), [2 * slope] * 2, atol=0.3)
        assert abs(10 * np.log10(np.mean(noise**2))) < 0.2

    def test_speech_has_the_published_levels_in_thirds_of_an_octave(self) -> None:
        noise = generated("speech", 60 * RATE, RATE, np.random.default_rng(1))
        chosen = [i for i, hertz in enumerate(SPEECH_HZ) if 100 <= hertz <= 5000]
        found = np.array([_band(noise, SPEECH_HZ[i] / 2 ** (1 / 6), SPEECH_HZ[i] * 2 ** (1 / 6)) for i in chosen])
        wanted = np.array([SPEECH_DB[i] for i in chosen])
        np.testing.assert_allclose(found - found.mean(), wanted - wanted.mean(), atol=1.5)

    def test_a_short_piece_has_the_low_frequencies_of_a_long_one(self) -> None:
        """20 ms shaped by themselves would have nothing below 50 Hz, and a mean of 0 each."""
        random = np.random.default_rng(0)
        means = [generated("pink", 320, RATE, random).mean() for _ in range(200)]
        assert np.std(means) > 0.2


def _band(samples: np.ndarray, low: float, high: float) -> float:
    """The level in dB between two frequencies."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(10 * np.log10(power[(hertz >= low) & (hertz < high)].sum()))
