"""A sound that goes on, in its own manner or in that of another."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from auricle.api import Sound
from auricle.audiolm.codecs import Codec
from auricle.audiolm.making.defaults import SECONDS, STYLE_S
from auricle.audiolm.making.generating import Request
from auricle.audiolm.making.job import Job, Making
from auricle.audiolm.making.like import Like, styled
from auricle.audiolm.making.made import Made
from auricle.audiolm.making.options import MakingOptions, Options, listed, timed
from auricle.audiolm.making.source import frames_before, silence, source
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
            (guidance); 0 is a plain continuation, for which `like` isn't read. At most 100.
        like_at: where in `like` the excerpt begins, in seconds; None takes its loudest stretch.
        like_seconds: how long it is; with what is heard and made at a time, at most what the model takes in one go.
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
    asked, other = styled(Options(**options), style_strength), Like(like, like_at, like_seconds)
    return _going_on(sound, seconds, asked, other if style_strength else None)


def _going_on(sound: Sound, seconds: float, options: Options, like: Like | None) -> Making:
    options.check_seconds("seconds", seconds)
    manner = options.manner()
    loaded = options.loaded()
    codec = loaded.codec
    frames, threads = options.frames(loaded), options.threads(loaded)
    style, told, style_s = np.zeros((0, codec.codebooks), np.int64), list[str](), 0.0
    if like is not None:
        wanted = like.frames(loaded, options.window)
        (style, told), style_s = timed(lambda: like.codes(wanted, codec), threads)
        frames = options.frames(loaded, beside=len(style))
    audio, notes = source(sound, codec)
    made = max(1, round(seconds * codec.rate))
    end = len(audio.samples)
    left, left_s = timed(lambda: frames_before(audio.samples, end, frames.context, codec), threads)
    notes += told
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
            encode_s=left_s + style_s,
            threads=threads,
        )
    )


def _heard(audio: Audio, frames: int, codec: Codec) -> list[str]:
    """What of the sound the model hears, where that isn't all."""
    heard = audio.samples[len(audio.samples) - frames * codec.frame :]
    notes = silence(heard, codec.rate, "that it goes on from", audio.channels)
    if len(audio.samples) - len(heard) >= codec.frame:
        seconds = len(heard) / codec.rate
        notes.append(f"of the {audio.seconds:.2f} s of {audio.source} the model hears the last {seconds:.2f}")
    return notes
