"""Sound as callers give it, and messages about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from auricle.errors import OptionError
from auricle.sound.decode import decode, from_samples
from auricle.sound.segment import segment
from auricle.types import Audio, Message, Order

Sound: TypeAlias = str | Path | bytes | Audio
"""A file's path, a file's bytes, or samples that are already an Audio."""


def read_sound(sound: Sound, rate: int) -> Audio:
    """Decodes a path or bytes, or checks and resamples an Audio: mono float32 at `rate`."""
    if not isinstance(sound, Audio):
        return decode(sound, rate=rate)
    read = from_samples(sound.samples, sound.rate, rate, name=sound.source)
    return replace(read, start_s=sound.start_s, channels=sound.channels)


def user_message(audio: Sound | Sequence[Sound], question: str, order: Order = "text-first") -> Message:
    """One user turn: the text, then the sounds; with `audio-first` the other way round."""
    sounds: Sequence[Sound] = [audio] if isinstance(audio, str | Path | bytes | Audio) else audio
    if not sounds:
        raise OptionError("no sound given: name at least one")
    if not question.strip():
        raise OptionError("the question is empty: say what to ask about the sound")
    if order not in ("text-first", "audio-first"):
        raise OptionError(f"order is {order!r}; it must be 'text-first' or 'audio-first'")
    heard = tuple(sound if isinstance(sound, Audio) else decode(sound) for sound in sounds)
    return Message("user", (question, *heard) if order == "text-first" else (*heard, question))


def pieces_of(audio: Audio, max_clip_seconds: float, longest_s: float | None = None) -> list[Audio]:
    """A sound cut at pauses into what a model takes as one clip, or shorter; each knows where it starts."""
    if longest_s is not None and not longest_s >= 1:
        raise OptionError(f"longest_s is {longest_s}; it must be at least 1 second")
    return [
        Audio(piece.audio.samples, audio.rate, audio.source, audio.start_s + piece.start_s)
        for piece in segment(audio, min(max_clip_seconds, longest_s or math.inf))
    ]
