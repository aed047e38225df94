"""A sound continued: what is kept, what is asked of the model, what comes out, and what is refused."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from auricle.audiolm.making import Made, continue_audio, continuing, restyle_audio
from auricle.audiolm.model.sampling import TokenSampling
from auricle.errors import CancelledError, OptionError, SoundError
from auricle.sound.decode import decode
from auricle.types import Audio
from tests.audiolm.making.fakes import FRAME, RATE, Echo, PcmCodec, loaded, wave
from tests.sound.making import written


def sound(seconds: float = 2.0, hertz: float = 200.0) -> Audio:
    return Audio(wave(seconds, hertz), RATE, "melody.wav")


def roughest(samples: np.ndarray, first: int, end: int) -> float:
    """The largest second difference, in which a click shows before it is heard."""
    return float(np.abs(np.diff(samples[first:end].astype(np.float64), 2)).max())


class TestContinue:
    def test_the_original_stays_and_what_is_new_follows(self) -> None:
        original = sound()
        made = continue_audio(original, 1.0, model=loaded(), fade=0.03)
        assert made.audio.rate == RATE
        assert len(made.audio.samples) == 3 * RATE
        kept = 2 * RATE - 240
        assert made.audio.samples[:kept].tobytes() == original.samples[:kept].tobytes()
        assert made.seams_s == (2.0,)
        assert made.new_s == (2.0, 3.0)
        assert made.codes.shape == (200, FRAME)
        assert len(made.only_new.samples) == RATE
        assert np.abs(made.audio.samples - wave(3.0)).max() < 0.001, "the model goes on with the tone"

    @pytest.mark.parametrize("late", [0, 3, 1000])
    def test_no_click_at_the_seam(self, late: int) -> None:
        """A codec that is off by 2 % of full scale: cut hard it clicks, faded it doesn't."""

        class Off(PcmCodec):
            def decode(self, codes: np.ndarray) -> np.ndarray:
                return super().decode(codes) + np.float32(0.02)

        original, seam = sound(hertz=50), 2 * RATE
        faded, cut = (
            continue_audio(original, 1.0, model=loaded(codec=Off(late)), fade=fade).audio.samples for fade in (0.03, 0)
        )
        elsewhere = max(roughest(faded, 0, seam - 400), roughest(faded, seam + 40, len(faded)))
        assert roughest(faded, seam - 300, seam + 40) < 1.05 * elsewhere
        assert roughest(cut, seam - 300, seam + 40) > 1.3 * elsewhere, "the measure sees a click"

    @pytest.mark.parametrize("samples", [FRAME, FRAME + 1, 10 * FRAME - 1, 1234])
    def test_any_length_ends_where_it_ended(self, samples: int) -> None:
        """Frames are laid from the sound's end backwards, so that none of it is padded or cut."""
        original = Audio(wave(1.0)[:samples], RATE, "short.wav")
        model = Echo()
        made = continue_audio(original, 0.5, model=loaded(model))
        assert len(made.audio.samples) == samples + RATE // 2
        heard = model.asked[0][0].left.numpy()
        assert len(heard) == samples // FRAME
        tail = PcmCodec().decode(heard)
        np.testing.assert_allclose(tail, original.samples[samples - len(tail) :], atol=0.001)

    def test_window_after_window(self) -> None:
        model = Echo(max_frames=100)
        made = continue_audio(sound(), 1.0, model=loaded(model), sampling=TokenSampling(seed=5))
        assert [(len(prompt.left), frames) for prompt, frames, _ in model.asked] == [
            (40, 60),
            (40, 60),
            (40, 60),
            (40, 20),
        ]
        known = np.concatenate([PcmCodec().encode(wave(2.0)), made.codes])
        for number, (prompt, _, _) in enumerate(model.asked):
            end = 400 + 60 * number
            np.testing.assert_array_equal(prompt.left.numpy(), known[end - 40 : end])
        seeds = [sampling.seed for _, _, sampling in model.asked]
        assert seeds[0] == 5
        assert len(set(seeds)) == 4, "the same draws in each window would bring the same turns again"

    def test_pieces_together_are_the_whole(self) -> None:
        making = continuing(sound(), 1.0, model=loaded(Echo(max_frames=100)), sampling=TokenSampling(seed=1))
        pieces = list(making)
        assert len(pieces) > 4
        assert [piece.new for piece in pieces] == [False] + [True] * (len(pieces) - 1)
        at = 0
        for piece in pieces:
            assert piece.start_s == at / RATE
            at += len(piece.samples)
        together = np.concatenate([piece.samples for piece in pieces])
        np.testing.assert_array_equal(together, making.made.audio.samples)
        again = continue_audio(sound(), 1.0, model=loaded(Echo(max_frames=100)), sampling=TokenSampling(seed=1))
        np.testing.assert_array_equal(together, again.audio.samples)

    def test_nothing_is_made_before_it_is_asked_for(self) -> None:
        model = Echo()
        pieces = iter(continuing(sound(), 1.0, model=loaded(model)))
        assert not next(pieces).new
        assert model.asked == []

    def test_a_sound_is_made_once(self) -> None:
        making = continuing(sound(), 0.5, model=loaded())
        assert next(iter(making)).start_s == 0
        with pytest.raises(OptionError, match="is made once: ask for another"):
            list(making)

    @pytest.mark.parametrize(("all_threads", "used"), [(False, 1), (True, 3)])
    def test_a_small_model_has_one_thread(self, all_threads: bool, used: int) -> None:
        seen = set()
        before = torch.get_num_threads()
        torch.set_num_threads(3)
        try:
            progress = lambda done, whole: seen.add(torch.get_num_threads())  # noqa: E731
            continue_audio(sound(), 0.5, model=loaded(), all_threads=all_threads, progress=progress)
            assert torch.get_num_threads() == 3
        finally:
            torch.set_num_threads(before)
        assert seen == {used}

    def test_variants_are_what_each_seed_gives_alone(self) -> None:
        model = Echo(max_frames=100)
        found = continuing(sound(), 1.0, model=loaded(model), seed=7).variants(3)
        assert [made.seed for made in found] == [7, 8, 9]
        assert len(model.asked) == 3 * 4
        assert len(found[0].audio.samples) == 3 * RATE

    @pytest.mark.parametrize("count", [0, 65, "2"])
    def test_as_many_variants_as_a_batch_holds(self, count: Any) -> None:
        with pytest.raises(OptionError, match=r"count is .*; it must be a whole number from 1 to 64"):
            continuing(sound(), 1.0, model=loaded()).variants(count)

    def test_what_is_made_is_short_to_print(self) -> None:
        making = continuing(sound(), 0.1, model=loaded(), seed=3)
        assert all(len(repr(piece)) < 60 for piece in making)
        assert "seed=3" in repr(making.made)
        assert len(repr(making.made)) < 400

    def test_a_seed_is_drawn_and_said(self) -> None:
        seeds = {continue_audio(sound(), 0.1, model=loaded()).seed for _ in range(3)}
        assert len(seeds) == 3
        assert continue_audio(sound(), 0.1, model=loaded(), seed=3).seed == 3

    def test_files_of_any_rate_and_channels(self, tmp_path: Path) -> None:
        both = np.stack([wave(1.0, rate=16_000), np.zeros(16_000, np.float32)])
        path = tmp_path / "stereo.flac"
        path.write_bytes(written(both, 16_000, "FLAC", "PCM_24"))
        made = continue_audio(path, 0.5, model=loaded())
        assert made.notes[:1] == (f"{path} has 2 channels; they are mixed, and the result is mono",)
        kept = decode(path, rate=RATE).samples
        assert made.audio.samples[: len(kept) - 240].tobytes() == kept[:-240].tobytes()

    def test_what_is_heard_is_said(self) -> None:
        made = continue_audio(sound(), 0.2, model=loaded(Echo(max_frames=100)))
        assert made.notes == ("of the 2.00 s of melody.wav the model hears the last 0.20",)
        assert continue_audio(sound(), 0.2, model=loaded()).notes == (
            "of the 2.00 s of melody.wav the model hears the last 0.80",
        )

    def test_silence_is_continued_and_said(self) -> None:
        silent = Audio(np.zeros(RATE // 2, np.float32), RATE, "silence.wav")
        (note,) = continue_audio(silent, 0.5, model=loaded()).notes
        assert note == "the 0.50 s that it goes on from are silent: what is made of them may be silent, too"

    def test_a_model_that_ends_the_sound(self) -> None:
        made = continue_audio(sound(), 2.0, model=loaded(Echo(ends=50)))
        assert made.new_s == (2.0, 2.25)
        assert len(made.audio.samples) == round(2.25 * RATE)
        assert made.notes[-1] == "the model ended the sound after 0.25 s of the 2.00 s asked for"

    def test_progress_and_giving_up(self) -> None:
        told: list[tuple[int, int]] = []
        continue_audio(sound(), 1.0, model=loaded(Echo(max_frames=100)), progress=lambda *now: told.append(now))
        assert told[-1] == (200, 200)
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        cancel = threading.Event()
        cancel.set()
        with pytest.raises(CancelledError):
            continue_audio(sound(), 1.0, model=loaded(), cancel=cancel)

    def test_times_add_up(self) -> None:
        made = continue_audio(sound(), 1.0, model=loaded())
        times = made.times
        assert times.total_s == pytest.approx(times.encode_s + times.generate_s + times.decode_s)
        assert 0 < times.first_s <= times.total_s
        assert made.speed > 0

    @pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, -math.inf, "2", None])
    def test_seconds_that_are_none(self, seconds: Any) -> None:
        with pytest.raises(OptionError, match=r"seconds is .*; it must be a number of seconds above 0"):
            continue_audio(sound(), seconds, model=loaded())

    def test_more_than_anybody_means(self) -> None:
        with pytest.raises(OptionError, match=r"seconds is 100000; at most 600 s are made: raise max_new_seconds"):
            continue_audio(sound(), 1e5, model=loaded())
        with pytest.raises(OptionError, match="at most 2 s are made"):
            continue_audio(sound(), 3, model=loaded(), max_new_seconds=2)

    def test_less_than_a_frame(self) -> None:
        with pytest.raises(SoundError, match=r"tick has 4.88 ms, which is less than a frame of pcm: give at least 5"):
            continue_audio(Audio(wave(1.0)[:39], RATE, "tick"), 1.0, model=loaded())

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"fade": -1}, "fade is -1; it must be from 0 to 1 second"),
            ({"fade": math.nan}, "fade is nan"),
            ({"fade": "0"}, "fade is '0'; it must be from 0 to 1 second"),
            ({"max_new_seconds": 0}, "max_new_seconds is 0"),
            ({"max_new_seconds": 1e308}, r"max_new_seconds is 1e\+308; .* at most a day \(86400\)"),
            ({"seed": -1}, "seed is -1"),
        ],
    )
    def test_options_outside_their_range(self, options: dict[str, float], told: str) -> None:
        with pytest.raises(OptionError, match=told):
            continue_audio(sound(), 1.0, model=loaded(), **options)  # type: ignore[arg-type]


class TestRestyle:
    def restyled(self, model: Echo, **options: object) -> Made:
        like = Audio(np.concatenate([wave(1.0, 100, amplitude=0.1), wave(1.0, 400)]), RATE, "other.wav")
        return restyle_audio(sound(), like, 0.5, model=loaded(model), **{"like_seconds": 1.5, **options})  # type: ignore[arg-type]

    def test_the_model_hears_an_excerpt_of_the_other(self) -> None:
        model = Echo()
        made = self.restyled(model, like_seconds=0.5, like_at=0.25)
        (prompt, frames, sampling) = model.asked[0]
        assert (len(prompt.style), frames, sampling.guidance) == (100, 100, 1.0)
        np.testing.assert_allclose(
            PcmCodec().decode(prompt.style.numpy()), wave(0.75, 100, amplitude=0.1)[2000:], atol=0.001
        )
        assert "followed is other.wav from 0.250 to 0.750 s" in made.notes

    def test_its_loudest_stretch_unless_told(self) -> None:
        made = self.restyled(Echo(), like_seconds=0.5)
        (note,) = [note for note in made.notes if "followed" in note]
        assert float(note.split()[4]) >= 0.99

    def test_every_window_hears_it(self) -> None:
        model = Echo(max_frames=150)
        self.restyled(model, like_seconds=0.5)
        parts = [(len(prompt.style), len(prompt.left), frames) for prompt, frames, _ in model.asked]
        assert parts == [(100, 20, 30)] * 3 + [(100, 20, 10)], "all of it is what the model takes in one go"

    def test_a_sound_that_is_shorter_leaves_its_room(self) -> None:
        model = Echo(max_frames=500)
        made = self.restyled(model, like_seconds=2.4)
        assert [(len(prompt.style), len(prompt.left)) for prompt, _, _ in model.asked] == [(400, 40), (400, 40)]
        assert "followed is other.wav from 0.000 to 2.000 s, all of it" in made.notes

    def test_without_strength_it_is_a_plain_continuation(self) -> None:
        model, plain = Echo(max_frames=50), Echo(max_frames=50)
        made = self.restyled(model, style_strength=0, sampling=TokenSampling(seed=1))
        assert made.notes == continue_audio(sound(), 0.5, model=loaded(plain)).notes
        assert {len(prompt.style) for prompt, _, _ in model.asked} == {0}
        assert [len(prompt.left) for prompt, _, _ in model.asked] == [len(prompt.left) for prompt, _, _ in plain.asked]

    def test_strength_is_guidance_by_the_style_alone(self) -> None:
        model = Echo()
        self.restyled(model, style_strength=2.5)
        assert (model.asked[0][2].guidance, model.asked[0][2].guidance_without) == (2.5, "style")
        with pytest.raises(OptionError, match=r"style_strength is 2\.5 and guidance 3"):
            self.restyled(model, style_strength=2.5, sampling=TokenSampling(guidance=3.0))

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"style_strength": math.nan}, "style_strength is nan"),
            ({"style_strength": -1.0}, "style_strength is -1"),
            ({"like_at": 1.5}, r"like_at is 1\.5, and other\.wav has 2\.000 s: 1\.5 s from there on are not in it"),
            ({"like_at": 1e308}, r"like_at is 1e\+308, and other\.wav has"),
            ({"like_at": -0.5}, r"like_at is -0\.5; it must be a number of seconds from 0"),
            ({"like_at": "1"}, "like_at is '1'; it must be a number of seconds from 0"),
            (
                {"like_seconds": 2.0},
                "like_seconds is 2; this model takes 2 s in one go, of which context and step leave 1",
            ),
            ({"like_seconds": 0.0}, r"like_seconds is 0"),
            ({"like_seconds": math.inf}, r"like_seconds is inf"),
            ({"like_seconds": 0.001}, r"like_seconds is 0\.001; it must be at least a frame"),
        ],
    )
    def test_no_such_excerpt(self, options: dict[str, float], told: str) -> None:
        with pytest.raises(OptionError, match=told):
            self.restyled(Echo(), **options)


class TestWrite:
    def made(self) -> Made:
        return continue_audio(sound(), 0.5, model=loaded())

    def test_files_are_there_whole(self, tmp_path: Path) -> None:
        made = self.made()
        for name in ("a.wav", "a.flac"):
            assert made.write(tmp_path / name) == ()
            samples, rate = soundfile.read(tmp_path / name)
            assert rate == RATE
            np.testing.assert_allclose(samples, made.audio.samples, atol=1 / 32768)
        made.write(tmp_path / "new.wav", only_new=True)
        assert len(soundfile.read(tmp_path / "new.wav")[0]) == RATE // 2
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.flac", "a.wav", "new.wav"]

    def test_peaks_are_lowered_and_said(self, tmp_path: Path) -> None:
        made = self.made()
        made.audio.samples[18_000] = 1.25
        (note,) = made.write(tmp_path / "a.wav")
        assert note.startswith("a.wav goes beyond full scale: 0.0")
        assert note.endswith("by up to 1.9 dB")
        assert made.write(tmp_path / "b.wav", bits="float") == ()
        assert soundfile.read(tmp_path / "b.wav")[0].max() == 1.25

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SoundError, match="can't be written"):
            self.made().write(tmp_path / "none" / "a.wav")
