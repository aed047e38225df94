"""The sound in whose manner another is continued."""

from __future__ import annotations

from dataclasses import replace

from auricle.api import Sound
from auricle.audiolm.codecs import Codec
from auricle.audiolm.loading import Loaded
from auricle.audiolm.making.generating import Codes
from auricle.audiolm.making.options import Options, finite
from auricle.audiolm.making.source import frames_before, loudest, silence, source
from auricle.audiolm.making.windows import Window
from auricle.errors import OptionError
from auricle.types.checks import require

STRONGEST = 100.0  # of a style: far beyond what still sounds, and far within what a float holds


def styled(options: Options, strength: float) -> Options:
    """With guidance by the style alone.

    Raises:
        OptionError: the strength is none, or another guidance is asked for.
    """
    require(
        finite(strength) and 0 <= strength <= STRONGEST,
        *("style_strength", repr(strength), f"a number from 0 to {STRONGEST:g}, where 1 is as the model has learnt it"),
    )
    if strength in (0, 1):  # without a style nothing is guided by it
        return options
    if options.sampling.guidance != 1:
        raise OptionError(
            f"style_strength is {strength:g} and guidance {options.sampling.guidance:g}: the one is guidance by the "
            "style alone, so give one of them"
        )
    return replace(options, sampling=replace(options.sampling, guidance=strength, guidance_without="style"))


class Like:
    """An excerpt of a sound.

    Args:
        at: where it begins, in seconds; None takes the loudest stretch.
        seconds: how long it is.

    Raises:
        OptionError: these are no such numbers.
    """

    def __init__(self, sound: Sound, at: float | None, seconds: float) -> None:
        require(at is None or (finite(at) and at >= 0), "like_at", repr(at), "a number of seconds from 0")
        require(finite(seconds) and seconds > 0, "like_seconds", repr(seconds), "a number of seconds above 0")
        self._sound, self._at, self._seconds = sound, at, seconds

    def frames(self, loaded: Loaded, window: Window) -> int:
        """How many it has. The model was trained on what it follows, hears and makes together.

        Args:
            window: that fits without it.

        Raises:
            OptionError: less than one, or more than the model takes beside what it hears and makes.
        """
        config = loaded.lm.config
        rate, longest = config.frame_rate, config.max_frames
        room = longest - sum(max(1, round((seconds or 0) * rate)) for seconds in (window.context, window.step))
        wanted = self._seconds * rate
        if wanted <= 0.5:
            raise OptionError(
                f"like_seconds is {self._seconds:g}; it must be at least a frame of the codec, {1 / rate:g}"
            )
        if wanted >= room + 0.5:
            raise OptionError(
                f"like_seconds is {self._seconds:.9g}; this model takes {longest / rate:g} s in one go, of which "
                f"context and step leave {room / rate:g}: make it shorter, or them"
            )
        return round(wanted)

    def codes(self, frames: int, codec: Codec) -> tuple[Codes, list[str]]:
        """Of the excerpt, `(frames, codebooks)`, fewer where the sound has no more; and what the user should know.

        Raises:
            SoundError: the sound can't be read.
            OptionError: it ends before the excerpt does.
        """
        audio, notes = source(self._sound, codec)
        there = len(audio.samples) // codec.frame
        frames, short = min(frames, there), frames > there
        length = frames * codec.frame
        if self._at is None:
            start = loudest(audio.samples, length, codec.frame)
        else:
            start = round(min(self._at, audio.seconds) * codec.rate)
        if start + length > len(audio.samples):
            raise OptionError(
                f"like_at is {self._at:g}, and {audio.source} has {audio.seconds:.3f} s: "
                f"{length / codec.rate:g} s from there on are not in it"
            )
        first, last = start / codec.rate, (start + length) / codec.rate
        heard = audio.samples[start : start + length]
        notes += silence(heard, codec.rate, f"of {audio.source} that are to be followed", audio.channels)
        notes.append(f"followed is {audio.source} from {first:.3f} to {last:.3f} s{', all of it' if short else ''}")
        return frames_before(audio.samples, start + length, frames, codec), notes
