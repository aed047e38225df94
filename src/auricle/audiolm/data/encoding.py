"""From a sound to its codes: here, in processes of this machine, or on a cluster, with the same bits.

Every process computes on one thread: how many share a product may change the order in which its terms are added, and so
the last bits of what a codebook is searched with.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.audiolm.codecs import Codec, load_codec
from auricle.audiolm.data.sounds import Sound
from auricle.errors import AuricleError, SoundError
from auricle.jobs.ahead import made_ahead
from auricle.jobs.cluster import FINE, failed, mapped
from auricle.jobs.processes import in_processes
from auricle.sound.decode import Limits
from auricle.sound.samples import content_hash
from auricle.types import Audio

GROUP = 16  # sounds that a cluster's worker gets at a time, at most


@dataclass(frozen=True)
class Encoded:
    """What came of a sound: codes, or why there are none."""

    codes: NDArray[Any] | None  # (frames, codebooks), int16 where that holds them
    sha256: str = ""  # of the samples
    seconds: float = 0.0
    channels: int = 1  # that were mixed
    reason: str = ""


@dataclass(frozen=True)
class How:
    """What every process is told."""

    codec: str
    device: str
    limits: Limits


def dtype_for(size: int) -> type[np.signedinteger[Any]]:
    """The smallest type that holds codes below `size`; signed ones, since torch has few functions for the others."""
    return np.int16 if size <= 1 << 15 else np.int32


def encode_all(
    sounds: Sequence[Sound], codec: Codec, how: How, workers: int, cluster: str | None
) -> Generator[Encoded, None, None]:
    """What comes of each sound, in order.

    Args:
        codec: that of `how`, for sounds that this process encodes.
        cluster: address of a Ray cluster; None is this machine.

    Raises:
        AuricleError: a worker was killed, or the cluster can't be reached.
    """
    if cluster is not None and sounds:
        return _on_cluster(sounds, how, workers, cluster)
    if min(workers, len(sounds)) <= 1:
        return _here(sounds, codec, how)
    return in_processes(Encoder, (how,), sounds, workers)


class Encoder:
    """Holds a codec; gives the codes of a sound."""

    def __init__(self, how: How) -> None:
        import torch  # not before: `auricle tokenize --help` needs none

        torch.set_num_threads(1)
        self._codec, self._limits = load_codec(how.codec, device=how.device), how.limits

    def __call__(self, sound: Sound) -> Encoded:
        return encoded(read(sound, self._codec.rate, self._limits), self._codec)


class ClusterEncoder:
    """The same for a row of Ray's, which names some sounds."""

    def __init__(self, how: How, groups: Sequence[Sequence[Sound]], where: str) -> None:
        os.chdir(where)  # paths are as they were given
        self._groups, self._encode = groups, Encoder(how)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        number = int(row["group"])
        try:
            done = [self._encode(sound) for sound in self._groups[number]]
        except AuricleError as error:
            return {"group": number, "codes": b"", **failed(error)}
        return {"group": number, "codes": pickle.dumps(done), **FINE}


def read(sound: Sound, rate: int, limits: Limits) -> Audio | SoundError:
    """A sound, or what is wrong with it."""
    try:
        return sound.read(rate, limits)
    except SoundError as error:
        return error


def encoded(audio: Audio | SoundError, codec: Codec) -> Encoded:
    """The codes of what was read."""
    if isinstance(audio, SoundError):
        return Encoded(None, reason=str(audio))
    codes = codec.encode(audio.samples).astype(dtype_for(codec.size))
    return Encoded(codes, content_hash(audio.samples), audio.seconds, audio.channels)


def probe(codec: Codec) -> str:
    """A hash of what a codec makes of a second of noise: other weights under its name would show."""
    noise = np.random.default_rng(0).normal(0, 0.1, codec.rate).astype(np.float32)
    with _one_thread():
        return hashlib.sha256(np.ascontiguousarray(codec.encode(noise), np.int64).tobytes()).hexdigest()


def _here(sounds: Sequence[Sound], codec: Codec, how: How) -> Generator[Encoded, None, None]:
    for audio in made_ahead(lambda sound: read(sound, codec.rate, how.limits), sounds):
        with _one_thread():
            done = encoded(audio, codec)
        yield done


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _on_cluster(sounds: Sequence[Sound], how: How, workers: int, address: str) -> Generator[Encoded, None, None]:
    """Ray gives results as they come; they wait here for their turn: codes are small."""
    size = max(1, min(GROUP, len(sounds) // (4 * workers)))
    groups = [sounds[first : first + size] for first in range(0, len(sounds), size)]
    rows = [{"group": number} for number in range(len(groups))]
    done: dict[int, list[Encoded]] = {}
    taken = 0
    for row in mapped(ClusterEncoder, (how, groups, str(Path.cwd())), rows, address=address, workers=workers):
        done[int(row["group"])] = pickle.loads(row["codes"])
        while taken in done:
            yield from done.pop(taken)
            taken += 1
