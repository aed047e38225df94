"""What a codec is: sound to a few small numbers a frame, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from auricle.errors import OptionError, SoundError

if TYPE_CHECKING:
    import torch


class CodecStream(Protocol):
    """Decodes codes as they come."""

    def push(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """`(n, codebooks)` -> samples `(m,)` that no later code can change, perhaps none."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """The rest of the samples."""
        ...


class Codec(Protocol):
    """Sound as `(frames, codebooks)` of whole numbers below `size`."""

    name: str  # as it was asked for
    rate: int  # samples a second
    frame: int  # samples a frame
    frame_rate: float  # frames a second
    codebooks: int
    size: int  # entries of a codebook
    device: torch.device  # that it computes on

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.int64]:
        """`(samples,)` mono at `rate` -> `(ceil(samples / frame), codebooks)`."""
        ...

    def decode(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """`(frames, codebooks)` -> `(frames * frame,)`."""
        ...

    def stream(self) -> CodecStream:
        """A decoder that takes codes as they come; its samples together are those of `decode`."""
        ...


def checked_samples(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Mono samples in float32, if that is what they are.

    Raises:
        SoundError: nothing is there, it has more than one dimension, or isn't finite.
    """
    if samples.ndim != 1 or not len(samples):
        raise SoundError(f"a codec takes mono samples, at least one, and was given the shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise SoundError("a codec was given samples that are not finite: clean the sound first")
    return np.ascontiguousarray(samples, np.float32)


def checked_codes(codes: NDArray[Any], codec: Codec) -> NDArray[np.int64]:
    """`(frames, codebooks)`, if these are codes of that codec.

    Raises:
        OptionError: the shape is another, or a code is none of the codebook's.
    """
    if codes.ndim != 2 or not 1 <= codes.shape[1] <= codec.codebooks or codes.dtype.kind not in "iu":
        raise OptionError(
            f"codes of {codec.name} are whole numbers of shape (frames, {codec.codebooks}); "
            f"these are {codes.dtype} of shape {codes.shape}"
        )
    if codes.size and not (codes.min() >= 0 and codes.max() < codec.size):
        worst = codes.min() if codes.min() < 0 else codes.max()
        raise OptionError(f"{worst} is no code of {codec.name}, whose codebooks have {codec.size} entries, from 0")
    return np.ascontiguousarray(codes, np.int64)
