"""A gap in a sound, filled from both sides."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Unpack

from auricle.api import Sound
from auricle.audiolm.codecs import Codec
from auricle.audiolm.making.choosing import JUDGED
from auricle.audiolm.making.defaults import MOST_TRIES, TRIES
from auricle.audiolm.making.generating import Codes, Request
from auricle.audiolm.making.job import RUN_OUT, Job, Making
from auricle.audiolm.making.made import Made
from auricle.audiolm.making.options import MakingOptions, Options, finite, listed, timed
from auricle.audiolm.making.source import frames_after, frames_before, silence, source
from auricle.audiolm.making.windows import Frames, Gap
from auricle.errors import OptionError
from auricle.types import Audio
from auricle.types.checks import require


def infill_audio(
    sound: Sound,
    gap: tuple[float, float],
    *,
    tries: int | None = None,
    from_left_only: bool = False,
    **options: Unpack[MakingOptions],
) -> Made:
    """Fills a gap in a sound anew, from what is before it and after it. What is in the gap is not listened to.

    The rest is kept, bit for bit at the codec's rate, but for a fade of 30 ms to either side of the gap. A gap that is
    longer than the model takes in one go is filled window after window, the last with what is after it in view.

    Args:
        sound: a path, bytes, or `Audio` of any rate.
        gap: where it begins and ends, in seconds.
        tries: so many are made of what is filled from both sides, and the one is kept after which the model finds what
            follows the gap likeliest. None is 16, or 1 where they would be alike (`temperature=0`) or nothing follows.
        from_left_only: what is after the gap isn't listened to either, to compare with.
        options: the fields of `Options`: model, sampling, seed, window, fade, max_new_seconds, all_threads, cancel,
            progress.

    Raises:
        SoundError: the sound can't be read, or is shorter than a frame of the codec.
        OptionError: the gap isn't in the sound, or leaves nothing to fill it from; an option is outside its range, as
            tries beyond 64.
        CheckpointError: the model can't be used; HubError: there is none of that name.
        CancelledError: it was given up.
        AuricleError: the model ended the sound within the gap.
    """
    return infilling(sound, gap, tries=tries, from_left_only=from_left_only, **options).made


def infilling(
    sound: Sound,
    gap: tuple[float, float],
    *,
    tries: int | None = None,
    from_left_only: bool = False,
    **options: Unpack[MakingOptions],
) -> Making:
    """As `infill_audio`, piece by piece: everything is checked now, and made as the result is iterated over."""
    asked = Options(**options)
    check_filling(gap, tries, from_left_only=from_left_only)
    manner = asked.manner()
    loaded = asked.loaded()
    codec = loaded.codec
    window = asked.frames(loaded)
    audio, notes = source(sound, codec)
    first, end = _place(audio, gap, codec)
    asked.check_seconds("the length of the gap", gap[1] - gap[0])
    if from_left_only and not first:
        raise OptionError("nothing is before the gap to fill it from the left only: let it hear what is after it")
    made = end - first
    frames = -(-made // codec.frame)
    behind = first + frames * codec.frame  # the first whole frame that is after the gap, on the same grid
    threads = asked.threads(loaded)
    left, left_s = timed(lambda: frames_before(audio.samples, first, window.longest, codec), threads)
    many, told = _tries(tries, len(audio.samples) - behind >= codec.frame, greedy=manner.sampling.greedy)
    in_prompt = not from_left_only and (many == 1 or not len(left))
    # Of what only chooses among tries, more would take the place of what they are drawn from.
    behind_frames = window.longest if in_prompt else max(JUDGED, RUN_OUT)
    right, right_s = timed(lambda: frames_after(audio.samples, behind, behind_frames, codec), threads)
    if from_left_only:
        request = Request(left, window.context, tuple(window.steps(frames)), left[:0], right[:0])
    else:
        plan = _plan(window, frames, left, right if in_prompt else right[:JUDGED], codec)
        request = Request(left, window.context, plan.alone, left[:0], right[: plan.right], plan, many)
        notes += _told(plan, codec) + told
    notes += _sides(audio, first, end, request, len(request.right) if in_prompt else 0, codec)
    return Making(
        Job(
            lm=loaded.lm,
            codec=codec,
            request=request,
            manner=manner,
            before=audio.samples[:first],
            made=made,
            after=audio.samples[end:],
            before_codes=left,
            after_codes=right[:RUN_OUT],
            fade=round(asked.fade * codec.rate),
            name=audio.source,
            notes=listed(notes),
            encode_s=left_s + right_s,
            threads=threads,
        )
    )


def check_filling(gap: tuple[float, float], tries: int | None, *, from_left_only: bool) -> None:
    """
    Raises:
        OptionError: no sound has such a gap, or the options contradict each other.
    """
    fits = tries is None or (type(tries) is int and 1 <= tries <= MOST_TRIES)
    require(fits, "tries", repr(tries), f"a whole number from 1 to {MOST_TRIES}")
    if from_left_only and tries is not None:
        raise OptionError("what is after the gap chooses among tries, and from_left_only does not hear it: drop one")
    if not isinstance(gap, Sequence) or len(gap) != 2 or not all(isinstance(at, Real) for at in gap):
        raise OptionError(f"gap is {gap!r}; it must be two numbers of seconds, where it begins and ends")
    start_s, end_s = gap
    if not (finite(start_s) and finite(end_s) and 0 <= start_s < end_s):
        raise OptionError(f"gap is {start_s:g}:{end_s:g}; it must be FROM:TO in seconds, from 0, and FROM before TO")


def _place(audio: Audio, gap: tuple[float, float], codec: Codec) -> tuple[int, int]:
    """Its first sample, and the first after it.

    Raises:
        OptionError: it isn't in the sound, or what is left on a side is less than a frame.
    """
    start_s, end_s = gap
    whole = len(audio.samples)
    said = f"gap is {start_s:.9g}:{end_s:.9g}"
    if end_s > whole / codec.rate + 0.5 / codec.rate:
        raise OptionError(f"{said}, and {audio.source} has {audio.seconds:.3f} s: it must lie in it")
    first, end = round(start_s * codec.rate), min(round(end_s * codec.rate), whole)
    if first == end:
        raise OptionError(f"{said}, less than a sample at {codec.rate:,} Hz: there is nothing to make")
    if first == 0 and end == whole:
        raise OptionError(f"{said}, all of {audio.source}: leave something to go on from")
    for side, samples, instead in (
        ("before", first, "begin it at 0"),
        ("after", whole - end, f"end it at {audio.seconds:.9g}"),
    ):
        if 0 < samples < codec.frame:
            raise OptionError(
                f"{said}, and {side} it are {1000 * samples / codec.rate:.1f} ms of "
                f"{audio.source}, less than a frame of {codec.name} ({1000 * codec.frame / codec.rate:g} ms): {instead}"
            )
    return first, end


def _plan(window: Frames, frames: int, left: Codes, right: Codes, codec: Codec) -> Gap:
    """
    Raises:
        OptionError: it would have to be begun from the left, and there is none.
    """
    plan = window.gap(frames, len(left), len(right))
    if plan.alone and not len(left):
        most = min(window.together, window.longest - plan.right)
        raise OptionError(
            f"nothing is before the gap, and it has {frames / codec.frame_rate:.2f} s; from what is after it at "
            f"most {most / codec.frame_rate:.2f} s are filled in one go: make it shorter"
        )
    return plan


def _tries(asked: int | None, followed: bool, *, greedy: bool) -> tuple[int, list[str]]:
    """How many are made of a gap, and why not as many as were asked for."""
    many = TRIES if asked is None else asked
    if many == 1 or (followed and not greedy):
        return many, []
    why = "they would be alike at temperature 0" if greedy else "nothing is after the gap to choose one by"
    return 1, [] if asked is None else [f"one try is made instead of {many}: {why}"]


def _told(plan: Gap, codec: Codec) -> list[str]:
    if not plan.alone or not plan.right:
        return []
    alone, together = sum(plan.alone) / codec.frame_rate, plan.together / codec.frame_rate
    note = (
        f"the gap is longer than what is filled in one go: its first {alone:.2f} s are made from what is before it, "
        f"and the last {together:.2f} from both sides"
    )
    return [note]


def _sides(audio: Audio, first: int, end: int, request: Request, after: int, codec: Codec) -> list[str]:
    """What of either side is silent or missing; so many frames after the gap are in the prompt."""
    before = min(len(request.left), request.gap.left if request.gap and not request.steps else request.context)
    sides = {
        "before": audio.samples[first - before * codec.frame : first],
        "after": audio.samples[end : end + after * codec.frame],
    }
    notes = []
    for side, heard in sides.items():
        notes += silence(heard, codec.rate, f"{side} the gap that are heard", audio.channels)
    if not first:
        notes.append("nothing is before the gap: it is filled from what is after it")
    if end == len(audio.samples):
        notes.append("nothing is after the gap: it is filled from what is before it")
    return notes
