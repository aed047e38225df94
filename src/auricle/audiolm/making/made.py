"""What comes out: pieces of sound while it is made, and all of it with where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auricle.errors import SoundError
from auricle.jobs.folder import replaced
from auricle.sound.limiter import limited
from auricle.sound.write import Bits, Form, encoded
from auricle.types import Audio


@dataclass(frozen=True)
class Times:
    """Where the time went, in seconds."""

    encode_s: float  # the sound to codes
    generate_s: float  # the model
    decode_s: float  # codes to sound
    first_s: float  # from the start until the first sample that is new
    total_s: float


@dataclass(frozen=True, eq=False)
class Made:
    """Sound of which a part is new."""

    audio: Audio = field(repr=False)  # all of it, at the codec's rate
    seams_s: tuple[float, ...]  # where the original ends, and begins again; fades lie on the original's side
    new_s: tuple[float, float]  # where what is new begins and ends
    codes: NDArray[np.int64] = field(repr=False)  # (frames, codebooks) of what is new
    seed: int  # that makes it again, with the same options
    times: Times
    notes: tuple[str, ...] = ()  # what the user should know

    @property
    def only_new(self) -> Audio:
        """Without what was kept."""
        first, end = (round(at * self.audio.rate) for at in self.new_s)
        return Audio(self.audio.samples[first:end], self.audio.rate, self.audio.source, self.new_s[0])

    def write(self, path: str | Path, *, bits: Bits = "16", only_new: bool = False) -> tuple[str, ...]:
        """Writes it, whole or not at all; what is there of that name is replaced.

        Args:
            path: ends in .wav or .flac.
            bits: of a sample. Peaks beyond full scale, which a decoder gives now and then, are lowered for 16 and 24;
                a float wav has them as they are.

        Returns:
            What the user should know of it: how much was lowered.

        Raises:
            OptionError: the name says no form, or one without such samples.
            SoundError: it can't be written.
        """
        path = Path(path)
        form, audio = Form.of(path, bits), self.only_new if only_new else self.audio
        notes: tuple[str, ...] = ()
        if form.bits != "float":
            samples, limiter = limited(audio.samples, audio.rate)
            audio, notes = replace(audio, samples=samples), limiter.notes(path.name)
        try:
            replaced(path, encoded(audio, form))
        except OSError as error:
            raise SoundError(f"{path} can't be written ({error.strerror}): name another file") from None
        return notes

    @property
    def speed(self) -> float:
        """Seconds of new sound for a second of work, decoding included; 1 is real time."""
        work = self.times.generate_s + self.times.decode_s
        return (self.new_s[1] - self.new_s[0]) / max(work, 1e-9)


@dataclass(frozen=True, eq=False)
class Piece:
    """The next samples of a sound that is being made."""

    samples: NDArray[np.float32] = field(repr=False)  # (n,)
    start_s: float
    new: bool  # whether there is made sound in it
