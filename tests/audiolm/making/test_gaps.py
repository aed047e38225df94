"""A gap filled from both sides."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auricle.audiolm.making import Made, Window, infill_audio
from auricle.errors import AuricleError, OptionError
from auricle.types import Audio
from tests.audiolm.making.fakes import FRAME, RATE, Echo, PcmCodec, loaded, wave

WHOLE = wave(3.0)
SOUND = Audio(WHOLE, RATE, "song.wav")


def filled(gap: tuple[float, float], model: Echo | None = None, **options: object) -> Made:
    broken = WHOLE.copy()
    first, end = (round(at * RATE) if abs(at) < 1e6 else 0 for at in gap)
    broken[max(first, 0) : max(end, 0)] = 0.9
    return infill_audio(Audio(broken, RATE, "song.wav"), gap, model=loaded(model), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("gap", [(1.0, 1.5), (1.001, 1.5004), (0.005, 0.5), (2.5, 2.995), (1.0, 1.001)])
def test_both_sides_stay_and_the_gap_is_new(gap: tuple[float, float]) -> None:
    made = filled(gap)
    out, first, end = made.audio.samples, round(gap[0] * RATE), round(gap[1] * RATE)
    assert len(out) == len(WHOLE)
    assert out[: max(0, first - 240)].tobytes() == WHOLE[: max(0, first - 240)].tobytes()
    assert out[end + 240 :].tobytes() == WHOLE[end + 240 :].tobytes()
    assert np.abs(out).max() < 0.6, "nothing of what was in the gap is heard"
    assert made.seams_s == pytest.approx(gap, abs=1 / RATE)


def test_a_period_later_it_fits_at_both_seams() -> None:
    """The tone's period is a frame, and so the model that says it again says what was there."""
    made = filled((1.0, 1.5))
    assert np.abs(made.audio.samples - WHOLE).max() < 0.001


def test_the_model_is_shown_both_sides_on_one_grid() -> None:
    model = Echo()
    filled((1.0, 1.5), model, tries=1)
    ((prompt, frames, _),) = model.asked
    assert (frames, prompt.gap) == (100, 100)
    assert (len(prompt.left), len(prompt.right)) == (150, 150)
    np.testing.assert_allclose(PcmCodec().decode(prompt.left.numpy()), WHOLE[RATE - 150 * FRAME : RATE], atol=0.001)
    end = RATE + 100 * FRAME
    np.testing.assert_allclose(PcmCodec().decode(prompt.right.numpy()), WHOLE[end : end + 150 * FRAME], atol=0.001)


def test_a_gap_between_frames_has_one_more() -> None:
    model = Echo()
    filled((1.0, 1.501), model, tries=1)
    ((prompt, frames, _),) = model.asked
    assert (frames, prompt.gap) == (101, 101)
    np.testing.assert_allclose(
        PcmCodec().decode(prompt.right.numpy())[:400], WHOLE[RATE + 101 * FRAME :][:400], atol=0.001
    )


def test_from_the_left_only() -> None:
    model = Echo()
    made = filled((1.0, 1.5), model, from_left_only=True)
    ((prompt, _, _),) = model.asked
    assert (len(prompt.right), prompt.gap) == (0, 0)
    assert np.abs(made.audio.samples - WHOLE).max() < 0.001, "the fade to what follows is there all the same"


def test_a_long_gap_is_filled_window_by_window() -> None:
    model = Echo(max_frames=100)
    made = filled((1.0, 2.0), model, tries=1)
    assert [(len(p.left), frames, len(p.right), p.gap) for p, frames, _ in model.asked] == [
        (40, 60, 0, 0),
        (40, 60, 0, 0),
        (40, 40, 0, 0),
        (40, 40, 20, 40),
    ]
    (note,) = made.notes
    assert note.startswith("the gap is longer than what is filled in one go: its first 0.80 s are made from what is ")
    assert note.endswith("before it, and the last 0.20 from both sides")


def test_a_long_gap_at_the_end_has_one_side() -> None:
    made = filled((1.0, 3.0), Echo(max_frames=100))
    assert made.notes == ("nothing is after the gap: it is filled from what is before it",)


@pytest.mark.parametrize(
    ("gap", "note", "seams"),
    [
        ((0.0, 0.5), "nothing is before the gap: it is filled from what is after it", (0.5,)),
        ((2.5, 3.0), "nothing is after the gap: it is filled from what is before it", (2.5,)),
    ],
)
def test_a_gap_at_an_end(gap: tuple[float, float], note: str, seams: tuple[float, ...]) -> None:
    made = filled(gap)
    assert made.notes == (note,)
    assert made.seams_s == seams
    assert len(made.audio.samples) == len(WHOLE)


@pytest.mark.parametrize(
    ("gap", "told"),
    [
        ((1.0, 9.0), r"gap is 1:9, and song\.wav has 3\.000 s: it must lie in it"),
        ((3.5, 4.0), r"song\.wav has 3\.000 s"),
        ((-0.5, 1.0), "it must be FROM:TO in seconds, from 0, and FROM before TO"),
        ((1.5, 1.0), "FROM before TO"),
        ((1.0, 1.0), "FROM before TO"),
        ((1.0, 1.00001), r"gap is 1:1\.00001, less than a sample at 8,000 Hz: there is nothing to make"),
        ((2.0, 9999.0), r"gap is 2:9999, and song\.wav has 3\.000 s: it must lie in it"),
        ((2.0, 1e308), r"and song\.wav has 3\.000 s: it must lie in it"),
        ((math.nan, 1.0), "gap is nan:1"),
        ((1.0, math.inf), "gap is 1:inf"),
        ((0.0, 3.0), r"all of song\.wav: leave something to go on from"),
        ((0.001, 1.0), r"before it are 1\.0 ms of song\.wav, less than a frame of pcm \(5 ms\): begin it at 0"),
        ((1.0, 2.999), r"after it are 1\.0 ms of song\.wav, less than a frame of pcm \(5 ms\): end it at 3"),
    ],
)
def test_gaps_that_are_none(gap: tuple[float, float], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        filled(gap)


@pytest.mark.parametrize("gap", ["1:2", (1.0,), (1.0, "2"), 1.5])
def test_gaps_that_are_no_numbers(gap: object) -> None:
    with pytest.raises(OptionError, match="it must be two numbers of seconds, where it begins and ends"):
        infill_audio(SOUND, gap, model=loaded())  # type: ignore[arg-type]


def test_nothing_to_fill_it_from() -> None:
    with pytest.raises(OptionError, match="nothing is before the gap to fill it from the left only"):
        filled((0.0, 1.0), from_left_only=True)
    with pytest.raises(
        OptionError, match=r"nothing is before the gap, and it has 1\.00 s; from what is after it at most"
    ):
        filled((0.0, 1.0), window=Window(step=0.3))


def test_a_gap_longer_than_is_made() -> None:
    with pytest.raises(OptionError, match=r"the length of the gap is 1; at most 0\.5 s are made"):
        filled((1.0, 2.0), max_new_seconds=0.5)


def test_a_gap_must_be_filled() -> None:
    with pytest.raises(AuricleError, match=r"ended the sound after 0\.05 s of a gap of 0\.50 s: try another --seed"):
        filled((1.0, 1.5), Echo(ends=10))


def test_silent_sides_are_said() -> None:
    quiet = np.zeros(2 * RATE, np.float32)
    notes = infill_audio(Audio(quiet, RATE, "x"), (0.5, 1.0), tries=1, model=loaded()).notes
    assert [note.split(" are")[0] for note in notes] == [
        "the 0.50 s before the gap that",
        "the 1.00 s after the gap that",
    ]
    (note,) = infill_audio(Audio(quiet, RATE, "x"), (0.5, 1.0), model=loaded()).notes
    assert note.startswith("the 0.50 s before the gap that are heard"), "a rest after it is none of the prompt"
