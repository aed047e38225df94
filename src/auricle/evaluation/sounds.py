"""The sounds that manifests name: reading them, writing them, and the hash that tells one from another."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.errors import SoundError
from auricle.evaluation.manifest import Clip
from auricle.sound.decode import Limits, decode
from auricle.sound.samples import content_hash
from auricle.sound.write import write_wav
from auricle.types import Audio

HEADER_BYTES = 44  # of a wav


def read_clip(clip: Clip, rate: int, limits: Limits | None = None) -> NDArray[np.float64]:
    """Its samples `(samples,)` at a rate.

    Raises:
        SoundError: it can't be read, or its file is shorter than the row says.
    """
    audio = decoded(clip.path, rate, limits or Limits())
    if clip.start_s is None and clip.end_s is None:
        return audio.samples.astype(np.float64)
    first = round((clip.start_s or 0.0) * rate)
    end = len(audio.samples) if clip.end_s is None else round(clip.end_s * rate)
    if end > len(audio.samples) or first >= end:
        raise SoundError(
            f"{clip.path} has {audio.seconds:.3f} s, and clip {clip.clip_id} is to go from {first / rate:.3f} to "
            f"{end / rate:.3f}: mend the manifest"
        )
    return audio.samples[first:end].astype(np.float64)


class Written(NamedTuple):
    """What is read back from a file: the same on every machine that decodes it."""

    sha256: str
    peak: float  # 1 is full scale


def write_clip(path: Path, samples: NDArray[np.float32], rate: int) -> Written:
    """Writes a 16-bit wav, and the folders that it is in.

    Raises:
        SoundError: samples beyond [-1, 1] would be clipped.
        OSError: it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.BytesIO() as file:
        write_wav(file, Audio(samples, rate, str(path)))
        path.write_bytes(file.getvalue())  # not by libsndfile, which doesn't say that a disk is full
    # By way of integers, as the file has them: there is no -0 among those.
    heard = np.minimum(np.rint(samples * 32768), 32767).astype(np.int16).astype(np.float32) / 32768
    return Written(content_hash(heard), float(np.abs(heard).max()))


@lru_cache(maxsize=4)  # clips of one recording follow each other, and so do conditions with one clip of noise
def decoded(path: str, rate: int, limits: Limits) -> Audio:
    """A file, as it was decoded a moment ago if it was."""
    return decode(path, rate=rate, limits=limits)
