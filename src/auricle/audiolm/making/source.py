"""The sound that is gone on with, on the codec's grid of frames."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from auricle.api import Sound, read_sound
from auricle.audiolm.codecs import Codec
from auricle.audiolm.making.edges import onward
from auricle.errors import SoundError
from auricle.types import Audio

RUN_IN = 50  # frames that are encoded before those wanted, for the encoder to run in
EDGE = 4  # frames past an edge that an encoder may look
SILENT = 10 ** (-60 / 20)  # of full scale, as a peak


def source(sound: Sound, codec: Codec) -> tuple[Audio, list[str]]:
    """A sound at the codec's rate, and what the user should know of it.

    Raises:
        SoundError: it can't be read, or is shorter than a frame.
    """
    audio = read_sound(sound, codec.rate)
    if len(audio.samples) < codec.frame:
        raise SoundError(
            f"{audio.source} has {1000 * audio.seconds:.2f} ms, which is less than a frame of {codec.name}: "
            f"give at least {1000 * codec.frame / codec.rate:g}"
        )
    notes = []
    if audio.channels > 1:
        notes.append(f"{audio.source} has {audio.channels} channels; they are mixed, and the result is mono")
    return audio, notes


def silence(heard: NDArray[np.float32], rate: int, called: str, channels: int = 1) -> list[str]:
    """What to say of sound that is heard before or after, mixed of so many channels, if it is silent."""
    peak = float(np.abs(heard).max(initial=0.0))
    if not len(heard) or peak > SILENT:
        return []
    level = "silent" if peak == 0 else f"all but silent (a peak of {20 * math.log10(peak):.0f} dB)"
    mixed = f"; if its {channels} channels are opposite, mixing cancelled them: give one" if channels > 1 else ""
    return [f"the {len(heard) / rate:.2f} s {called} are {level}: what is made of them may be silent, too{mixed}"]


def frames_before(samples: NDArray[np.float32], end: int, frames: int, codec: Codec) -> NDArray[np.int64]:
    """Codes of the last whole frames before a sample, at most `frames`: `(n, codebooks)`.

    The grid is laid so that the last frame ends there, wherever the sound began. Training has seen codes from the
    middle of sounds: so what is before is encoded with it, and something that may well follow (see `edges`).
    """
    wanted = min(frames, end // codec.frame)
    if not wanted:
        return np.zeros((0, codec.codebooks), np.int64)
    run_in = min(RUN_IN, end // codec.frame - wanted)
    heard = samples[end - (wanted + run_in) * codec.frame : end]
    return codec.encode(np.concatenate([heard, onward(heard, EDGE * codec.frame)]))[run_in : run_in + wanted]


def frames_after(samples: NDArray[np.float32], start: int, frames: int, codec: Codec) -> NDArray[np.int64]:
    """Codes of the first whole frames from a sample on, at most `frames`: `(n, codebooks)`."""
    wanted = min(frames, max(0, len(samples) - start) // codec.frame)
    if not wanted:
        return np.zeros((0, codec.codebooks), np.int64)
    heard = samples[start : start + (wanted + RUN_IN) * codec.frame]
    before = onward(heard[::-1], EDGE * codec.frame)[::-1]
    return codec.encode(np.concatenate([before, heard]))[EDGE : EDGE + wanted]


def loudest(samples: NDArray[np.float32], length: int, step: int) -> int:
    """Where the stretch of that length with the most energy begins, to `step` samples."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, len(samples) - length + 1, step)
    return int(starts[np.argmax(energy[starts + length] - energy[starts])])
