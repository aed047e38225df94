"""Rooms, filters, codecs, cuts and padding, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.errors import OptionError, SoundError
from auricle.evaluation.degrade import pieces, reverb
from auricle.evaluation.degrade.chain import Chain, Settings
from auricle.evaluation.degrade.codecs import KINDS, Codec, coded
from auricle.evaluation.degrade.conditions import Condition, Factors
from auricle.evaluation.degrade.filters import Filter
from auricle.evaluation.degrade.noise import generated
from auricle.evaluation.degrade.pieces import Padding, cut, ramped

RATE = 16_000
CODECS = ["mp3:32k", "mp3:64k", "opus:16k", "opus:24k", "aac:24k", "amr-nb:12.2k", "g722", "mulaw", "alaw"]


def made(clip: np.ndarray, condition: Condition, settings: Settings | None = None, rate: int = RATE) -> np.ndarray:
    chain = Chain(clip, "hash", None, Factors(rate=rate), settings or Settings())
    return chain.under(condition).samples.astype(np.float64)


def impulse(seconds: float = 4.0, at: int = 0) -> np.ndarray:
    found = np.zeros(round(seconds * RATE))
    found[at] = 0.5
    return found


class TestReverberation:
    @pytest.mark.parametrize("rt60", [0.1, 0.3, 1.0, 2.5])
    def test_rt60_is_what_was_asked_for(self, rt60: float) -> None:
        """Measured on the sound itself: how fast the level of steady noise that stops falls."""
        noise = 0.1 * generated("white", 2 * RATE, RATE, np.random.default_rng(0))
        clip = np.concatenate([noise, np.zeros(round(2.5 * RATE))])
        chain = Chain(clip, "hash", None, Factors(rt60=(rt60,)), Settings())
        found = chain.under(Condition(rt60=rt60))
        tail = found.samples[2 * RATE + 1 :].astype(np.float64)
        frame = max(1, round(rt60 * RATE / 30))
        decibels = 10 * np.log10([np.mean(part**2) for part in np.split(tail, range(frame, frame * 16, frame))[:15]])
        slope = np.polyfit(np.arange(15) * frame / RATE, decibels, 1)[0]
        assert -60 / slope == pytest.approx(rt60, rel=0.1)
        assert found.columns["rt60_measured"] == pytest.approx(rt60, rel=0.1)
        assert found.columns["rt60"] == rt60

    def test_the_measure_finds_a_decay_that_is_known(self) -> None:
        time = np.arange(RATE) / RATE
        response = reverb.decay(time, 0.4) * np.random.default_rng(0).standard_normal(RATE)
        assert reverb.measured_rt60(response, RATE) == pytest.approx(0.4, rel=0.05)

    def test_direct_and_reverberant_energy_are_as_stated(self) -> None:
        response = reverb.impulse_response(0.5, 6.0, RATE, np.random.default_rng(0))
        assert response[0] == 1
        assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(6.0)

    def test_a_clip_keeps_its_length_its_place_and_its_level(self) -> None:
        clip = 0.1 * generated("speech", RATE // 2, RATE, np.random.default_rng(0))
        wet = made(clip, Condition(rt60=1.0))
        assert len(wet) == len(clip)
        assert np.mean(wet**2) == pytest.approx(np.mean(clip**2), rel=1e-3)
        assert np.corrcoef(wet, clip)[0, 1] > 0.5  # the direct sound stands where the clip stood

    def test_a_tail_is_kept_where_that_is_wanted(self) -> None:
        clip = 0.1 * generated("speech", 320, RATE, np.random.default_rng(0))
        wet = made(clip, Condition(rt60=0.3), Settings(tail="keep"))
        assert len(wet) == 320 + round(0.36 * RATE) - 1

    def test_convolution_is_convolution(self) -> None:
        random = np.random.default_rng(0)
        sound, response = random.standard_normal(300), random.standard_normal(200)
        np.testing.assert_allclose(reverb.convolved(sound, response, 499), np.convolve(sound, response), atol=1e-10)
        np.testing.assert_allclose(
            reverb.convolved(sound, response, 100), np.convolve(sound, response)[:100], atol=1e-10
        )


class TestFilters:
    @pytest.mark.parametrize(
        ("text", "corners"),
        [("lowpass:3400", [3400]), ("highpass:300", [300]), ("bandpass:300-3400", [300, 3400])],
    )
    def test_3_db_at_the_stated_frequencies(self, text: str, corners: list[float]) -> None:
        spectrum = np.abs(np.fft.rfft(made(impulse(at=2 * RATE), Condition(filter=text)))) / 0.5
        hertz = np.fft.rfftfreq(4 * RATE, 1 / RATE)
        for corner in corners:
            assert 20 * np.log10(np.interp(corner, hertz, spectrum)) == pytest.approx(-3.01, abs=0.05)
        middle = {"lowpass:3400": 500, "highpass:300": 3000, "bandpass:300-3400": 1000}[text]
        assert 20 * np.log10(np.interp(middle, hertz, spectrum)) == pytest.approx(0, abs=0.05)
        beyond = [corner * (2 if corner == 3400 else 0.5) for corner in corners]
        for frequency in beyond:  # an octave away: 24 dB
            assert 20 * np.log10(np.interp(frequency, hertz, spectrum)) == pytest.approx(-24.1, abs=0.1)

    def test_nothing_is_moved(self) -> None:
        found = made(impulse(at=2 * RATE), Condition(filter="bandpass:300-3400"))
        assert np.argmax(np.abs(found)) == 2 * RATE
        np.testing.assert_allclose(found, np.roll(found[::-1], 1), atol=1e-6)  # the same to both sides

    def test_it_does_not_come_round_to_the_other_end(self) -> None:
        found = Filter.parse("highpass:300", RATE).apply(impulse(0.5, at=10), RATE)
        assert np.abs(found[-1000:]).max() < 1e-6

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("notch:50", "it must be none, lowpass:HZ, highpass:HZ or bandpass:HZ-HZ"),
            ("lowpass:9000", "has 9000 Hz; at a rate of 16000 it must be between 0 and 8000"),
            ("highpass:0", "has 0 Hz"),
            ("bandpass:3400-300", "passes nothing"),
            ("lowpass:1.2.3", "must be numbers"),
        ],
    )
    def test_what_is_none(self, text: str, told: str) -> None:
        with pytest.raises(OptionError, match=told):
            Factors(filters=(text,))


class TestCodecs:
    @pytest.mark.parametrize("text", CODECS)
    @pytest.mark.parametrize("rate", [16_000, 44_100])
    def test_what_comes_back_stands_in_its_place(self, text: str, rate: int) -> None:
        """To a sample or, where a codec keeps no wave form, to 0.2 ms; the calibration's sound is another."""
        random = np.random.default_rng(2)
        sound = 0.1 * generated("speech", rate // 4, rate, random)
        codec = Codec.parse(text, rate)
        found = coded(sound, rate, codec)
        assert len(found.samples) == len(sound)
        size = 1 << 17
        fit = np.fft.irfft(np.fft.rfft(found.samples, size) * np.conj(np.fft.rfft(sound, size)))
        lag = int(np.argmax(np.concatenate([fit[-2000:], fit[:2000]]))) - 2000
        assert abs(lag) <= (0.0002 * rate if codec.name == "amr-nb" else 1)
        correlation = np.corrcoef(found.samples, sound)[0, 1]
        assert correlation > (0.5 if codec.name == "amr-nb" else 0.9)
        assert not np.array_equal(found.samples, sound)

    def test_a_clip_of_20_ms_is_heard(self) -> None:
        sound = 0.1 * generated("speech", 320, RATE, np.random.default_rng(0))
        for text in CODECS:
            found = coded(sound, RATE, Codec.parse(text, RATE)).samples
            assert np.sum(found**2) > 0.4 * np.sum(sound**2), text

    def test_bits_are_as_stated(self) -> None:
        sound = 0.1 * generated("speech", 4 * RATE, RATE, np.random.default_rng(0))
        for text, kbps in (("mp3:32k", 32), ("opus:16k", 16), ("amr-nb:12.2k", 12.8), ("mulaw", 64), ("g722", 64)):
            assert coded(sound, RATE, Codec.parse(text, RATE)).kbps == pytest.approx(kbps, rel=0.05), text

    def test_fewer_bits_leave_less(self) -> None:
        sound = 0.1 * generated("speech", RATE, RATE, np.random.default_rng(0))

        def left(text: str) -> float:
            return float(np.corrcoef(coded(sound, RATE, Codec.parse(text, RATE)).samples, sound)[0, 1])

        assert left("mp3:16k") < left("mp3:32k") < left("mp3:64k")
        assert left("amr-nb:4.75k") < left("amr-nb:12.2k")

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("wma:32k", "it must be none, or one of mp3, opus"),
            ("mp3", "has no bit rate; give one in thousands of bits a second: mp3:32k"),
            ("mp3:33k", "mp3 at 16000 Hz has 8, 16, 24, 32"),
            ("amr-nb:32k", "amr-nb at 8000 Hz has 4.75, 5.15"),
            ("opus:1k", "opus goes from 6k to 256k"),
            ("aac:1.2.3k", "no number"),
        ],
    )
    def test_what_is_none(self, text: str, told: str) -> None:
        with pytest.raises(OptionError, match=told):
            Factors(codecs=(text,))

    def test_all_of_them_are_in_this_ffmpeg(self) -> None:
        assert {Codec.parse(text, RATE).name for text in CODECS} == set(KINDS)


class TestPieces:
    def test_where_a_piece_is_taken(self) -> None:
        clip = np.zeros(1000)
        clip[700:720] = 1
        random = np.random.default_rng(0)
        assert cut(clip, 100, "start", random)[1] == 0
        assert cut(clip, 100, "centre", random)[1] == 450
        piece, first = cut(clip, 20, "loudest", random)
        assert (first, piece.min()) == (700, 1)
        starts = {cut(clip, 100, "random", random)[1] for _ in range(200)}
        assert min(starts) < 50
        assert max(starts) > 850
        assert cut(clip, 1000, "random", random)[1] == 0

    def test_ramps_leave_the_middle_alone(self) -> None:
        found = ramped(np.ones(100), 10)
        assert found[0] < 0.01
        assert found[9] > 0.99
        assert (found[10:90] == 1).all()
        np.testing.assert_array_equal(found, found[::-1])

    def test_padding_by_each_rule(self) -> None:
        clip = np.full(320, 0.5)
        random = np.random.default_rng(0)
        whole, onset = Padding("silence", 2000).around(clip, RATE, random)
        assert (len(whole), onset) == (32_000, 15_840)
        assert (np.flatnonzero(whole)[0], np.flatnonzero(whole)[-1]) == (15_840, 16_159)
        whole, onset = Padding("silence", 100, "start").around(clip, RATE, random)
        assert (len(whole), onset, np.flatnonzero(whole)[-1]) == (1600, 0, 319)
        whole, onset = Padding("noise", 2000).around(clip, RATE, random)
        np.testing.assert_array_equal(whole[onset : onset + 320], clip)
        around = np.concatenate([whole[:onset], whole[onset + 320 :]])
        assert around.std() == pytest.approx(1e-4, rel=0.02)
        assert abs(around.mean()) < 3e-6
        assert Padding().around(clip, RATE, random)[0] is clip

    def test_a_clip_that_does_not_fit_is_refused(self) -> None:
        with pytest.raises(SoundError, match=r"it has 200 ms and pad_to is 100"):
            Padding("silence", 100).around(np.ones(3200), RATE, np.random.default_rng(0))

    def test_milliseconds_to_samples(self) -> None:
        assert pieces.samples_of(20, RATE) == 320
        assert pieces.samples_of(20, 44_100) == 882


class TestClipping:
    """Never in silence."""

    LOUD = 0.9 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)

    def test_is_refused_with_how_much_it_is(self) -> None:
        with pytest.raises(SoundError, match=r"it reaches 1.8 where full scale is 1, 5.1 dB too much"):
            made(self.LOUD, Condition(gain_db=6.0206))
        with pytest.raises(SoundError, match="too much: set a lower level"):
            made(self.LOUD, Condition(noise="white", snr_db=-10.0, codec="opus:16k"))

    def test_or_the_whole_is_lowered_and_it_says_by_how_much(self) -> None:
        chain = Chain(self.LOUD, "hash", None, Factors(), Settings(over="scale"))
        found = chain.under(Condition(gain_db=6.0206))
        assert found.columns["scale_db"] == pytest.approx(-20 * np.log10(1.8), abs=1e-3)
        np.testing.assert_allclose(found.samples, self.LOUD / 0.9, atol=1e-5)
        assert chain.under(Condition()).columns["scale_db"] == 0

    def test_before_a_codec_whose_rate_overshoots(self) -> None:
        time_s = np.arange(RATE) / RATE
        full = np.sign(np.sin(2 * np.pi * 300 * time_s))  # resampled to 8 kHz it goes beyond 1
        with pytest.raises(SoundError, match=r"mulaw at 8000 Hz would clip a sound that reaches 1.*--over scale"):
            made(full, Condition(codec="mulaw"))
        chain = Chain(full, "hash", None, Factors(codecs=("mulaw",)), Settings(over="scale"))
        found = chain.under(Condition(codec="mulaw"))
        assert -6 < found.columns["scale_db"] < -0.1
        lowered = full * 10 ** (found.columns["scale_db"] / 20)
        inner = slice(800, -800)
        assert np.vdot(found.samples[inner], lowered[inner]) / np.vdot(lowered[inner], lowered[inner]) == pytest.approx(
            1, abs=0.05
        )

    def test_gain_is_gain(self) -> None:
        np.testing.assert_allclose(made(self.LOUD, Condition(gain_db=-20.0)), self.LOUD / 10, atol=1e-6)


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"cut": "end"}, "cut is 'end'; it must be centre"),
            ({"tail": "x"}, "tail is 'x'"),
            ({"over": "clip"}, "over is 'clip'; it must be refuse, scale"),
            ({"ramp_ms": -1}, "ramp is -1"),
            ({"level_db": 3}, "level is 3"),
            ({"drr_db": 100}, "drr is 100"),
            ({"seed": -1}, "seed is -1"),
        ],
    )
    def test_out_of_range(self, settings: dict[str, object], told: str) -> None:
        with pytest.raises(OptionError, match=told):
            Settings(**settings)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("factors", "told"),
        [
            ({"durations": (0.0,)}, "durations has 0; it must be from 0.0625"),
            ({"rt60": (-1.0,)}, "rt60 has -1"),
            ({"snr": (500.0,)}, "snr has 500"),
            ({"gains": (0.0, 0.0)}, "gains has 0.0 twice"),
            ({"snr": (None, None)}, "snr has clean twice"),
            ({"snr": ()}, "snr is empty"),
            ({"noise": ("a/rain", "b/rain")}, "two kinds of noise are called 'rain'"),
            ({"rate": 100}, "rate is 100"),
        ],
    )
    def test_factors(self, factors: dict[str, object], told: str) -> None:
        with pytest.raises(OptionError, match=told):
            Factors(**factors)  # type: ignore[arg-type]

    def test_names_of_conditions_are_unique_and_readable(self) -> None:
        factors = Factors(
            durations=(20, 12.5), rt60=(0, 0.3), snr=(None, 0, -2.5), noise=("white", "pink"),
            filters=("none", "bandpass:300-3400"), gains=(0, -6), codecs=("none", "mp3:32k"),
        )  # fmt: skip
        names = [condition.name for condition in factors.conditions()]
        assert len(set(names)) == len(names) == 2 * 2 * 5 * 2 * 2 * 2
        assert "12.5ms_rt0.3_pink-2.5dB_bandpass300-3400_gain-6dB_mp3-32k" in names
        assert Condition().name == "clean"
