"""A sound that goes on, in its own manner or in that of another."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Unpack

import numpy as np

from auricle.api import Sound
from auricle.audiolm.codecs import Codec
from auricle.audiolm.making.defaults import SECONDS, STYLE_S
from auricle.audiolm.making.generating import Codes, Request
from auricle.audiolm.making.job import Job, Making
from auricle.audiolm.making.made import Made
from auricle.audiolm.making.options import MakingOptions, Options, listed, timed
from auricle.audiolm.making.source import frames_before, loudest, silence, source
from auricle.errors import OptionError
from auricle.types import Audio


def continue_audio(sound: Sound, seconds: float = SECONDS, **options: Unpack[MakingOptions]) -> Made:
    """Goes on where a sound ends.

    The sound itself is kept, bit for bit at the codec's rate, up to the fade of 30 ms before its end. What is longer
    than the model takes in one go is made window after window.

    Args:
        sound: a path, bytes, or `Audio` of any rate.
        seconds: how much is made.
        options: the fields of `Options`: model, sampling, seed, window, fade, max_new_seconds, all_threads, cancel,
            progress.

    Raises:
        SoundError: the sound can't be read, or is shorter than a frame of the codec.
        OptionError: an option is outside its range.
        CheckpointError: the model can't be used; HubError: there is none of that name.
        CancelledError: it was given up.
    """
    return continuing(sound, seconds, **options).made


def continuing(sound: Sound, seconds: float = SECONDS, **options: Unpack[MakingOptions]) -> Making:
    """As `continue_audio`, piece by piece: everything is checked now, and made as the result is iterated over."""
    return _going_on(sound, seconds, Options(**options), None)


def restyle_audio(
    sound: Sound,
    like: Sound,
    seconds: float = SECONDS,
    *,
    style_strength: float = 1.0,
    like_at: float | None = None,
    like_seconds: float = STYLE_S,
    **options: Unpack[MakingOptions],
) -> Made:
    """Goes on where a sound ends, in the manner of another: the model also hears an excerpt of that.

    Args:
        sound: what is continued.
        like: what it is to become like.
        seconds: how much is made.
        style_strength: of the manner; above 1 what the excerpt changes in the model's expectations is exaggerated
            (guidance), 0 is a plain continuation.
        like_at: where in `like` the excerpt begins, in seconds; None takes its loudest stretch.
        like_seconds: how long it is.
        options: as for `continue_audio`.

    Raises:
        Those of `continue_audio`, for either sound.
        OptionError: there is no such excerpt; `style_strength` beside another guidance.
    """
    return restyling(
        sound, like, seconds, style_strength=style_strength, like_at=like_at, like_seconds=like_seconds, **options
    ).made


def restyling(
    sound: Sound,
    like: Sound,
    seconds: float = SECONDS,
    *,
    style_strength: float = 1.0,
    like_at: float | None = None,
    like_seconds: float = STYLE_S,
    **options: Unpack[MakingOptions],
) -> Making:
    """As `restyle_audio`, piece by piece: everything is checked now, and made as the result is iterated over."""
    asked = styled(Options(**options), style_strength)
    return _going_on(sound, seconds, asked, _Like(like, like_at, like_seconds))


def styled(options: Options, strength: float) -> Options:
    """With guidance by the style alone.

    Raises:
        OptionError: the strength is none, or another guidance is asked for.
    """
    if not 0 <= strength < math.inf:
        raise OptionError(
            f"style_strength is {strength}; it must be a number from 0, where 1 is as the model has learnt it"
        )
    if strength == 1:
        return options
    if options.sampling.guidance != 1:
        raise OptionError(
            f"style_strength is {strength:g} and guidance {options.sampling.guidance:g}: the one is guidance by the "
            "style alone, so give one of them"
        )
    return replace(options, sampling=replace(options.sampling, guidance=strength, guidance_without="style"))


class _Like:
    """The sound whose manner is followed."""

    def __init__(self, sound: Sound, at: float | None, seconds: float) -> None:
        for name, value, least in (("like_at", at, -1e-9), ("like_seconds", seconds, 0.0)):
            if value is not None and not least < value < math.inf:
                raise OptionError(f"{name} is {value}; it must be a number of seconds, {name} at least 0")
        self._sound, self._at, self._seconds = sound, at, seconds

    def codes(self, codec: Codec) -> tuple[Codes, list[str]]:
        """Of the excerpt, `(frames, codebooks)`, and what the user should know."""
        audio, notes = source(self._sound, codec)
        frames = min(round(self._seconds * codec.frame_rate), len(audio.samples) // codec.frame)
        if frames < 1:
            raise OptionError(
                f"like_seconds is {self._seconds:g}; it must be at least a frame of the codec, "
                f"{1 / codec.frame_rate:g} s"
            )
        length = frames * codec.frame
        start = loudest(audio.samples, length, codec.frame) if self._at is None else round(self._at * codec.rate)
        if start + length > len(audio.samples):
            raise OptionError(
                f"like_at is {self._at:g}, and {audio.source} has {audio.seconds:.2f} s: "
                f"{length / codec.rate:g} s from there on are not in it"
            )
        heard = audio.samples[start : start + length]
        first, last = start / codec.rate, (start + length) / codec.rate
        notes += silence(heard, codec.rate, f"of {audio.source} that are to be followed")
        notes.append(f"followed is {audio.source} from {first:.2f} to {last:.2f} s")
        return frames_before(audio.samples, start + length, frames, codec), notes


def _going_on(sound: Sound, seconds: float, options: Options, like: _Like | None) -> Making:
    options.check_seconds("seconds", seconds)
    manner = options.manner()
    loaded = options.loaded()
    codec = loaded.codec
    frames = options.frames(loaded)
    audio, notes = source(sound, codec)
    made = max(1, round(seconds * codec.rate))
    end = len(audio.samples)
    threads = options.threads(loaded)
    left, encode_s = timed(lambda: frames_before(audio.samples, end, frames.context, codec), threads)
    style = left[:0]
    if like is not None:
        (style, told), more_s = timed(lambda: like.codes(codec), threads)
        notes, encode_s = notes + told, encode_s + more_s
    notes += _heard(audio, len(left), codec)
    request = Request(left, frames.context, tuple(frames.steps(-(-made // codec.frame))), style, left[:0])
    return Making(
        Job(
            lm=loaded.lm,
            codec=codec,
            request=request,
            manner=manner,
            before=audio.samples,
            made=made,
            after=np.zeros(0, np.float32),
            before_codes=left,
            after_codes=left[:0],
            fade=round(options.fade * codec.rate),
            name=audio.source,
            notes=listed(notes),
            encode_s=encode_s,
            threads=threads,
        )
    )


def _heard(audio: Audio, frames: int, codec: Codec) -> list[str]:
    """What of the sound the model hears, where that isn't all."""
    heard = audio.samples[len(audio.samples) - frames * codec.frame :]
    notes = silence(heard, codec.rate, "that it goes on from")
    if len(audio.samples) - len(heard) >= codec.frame:
        seconds = len(heard) / codec.rate
        notes.append(f"of the {audio.seconds:.2f} s of {audio.source} the model hears the last {seconds:.2f}")
    return notes
