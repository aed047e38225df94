"""EnCodec as a codec: arrays of samples to codes and back, whatever their length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.audiolm.codecs.interface import checked_codes, checked_samples
from auricle.audiolm.codecs.streaming import Pieces
from auricle.audiolm.codecs.weights import load_encodec
from auricle.checkpoint import Checkpoint
from auricle.engine.device import choose_device

PIECE = 500  # frames computed at a time: ten seconds


class Encodec:
    """See `auricle.audiolm.codecs.interface.Codec`.

    Raises:
        CheckpointError: the folder holds no EnCodec that we run.
    """

    def __init__(self, checkpoint: Checkpoint, name: str, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.model = load_encodec(checkpoint).to(self.device)
        config = self.model.config
        self.name, self.rate, self.frame = name, config.sampling_rate, config.frame
        self.codebooks, self.size = config.codebooks, config.codebook_size
        self.frame_rate = self.rate / self.frame

    @torch.inference_mode()
    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.int64]:
        """`(samples,)` mono at `rate` -> `(frames, codebooks)`; what fills no whole frame at the end is one more.

        Raises:
            SoundError: nothing is there, it has more than one dimension, or isn't finite.
        """
        x = torch.from_numpy(checked_samples(samples)).to(self.device)[None, None]
        pieces = Pieces(self.model.encoder, self.model.config.reach, self.frame, 1)
        found = [self._quantized(part) for part in _through(pieces, x.split(PIECE * self.frame, dim=-1))]
        return np.concatenate(found)

    def _quantized(self, latents: Tensor) -> NDArray[np.int64]:
        return self.model.quantizer.encode(latents)[0].cpu().numpy()

    def decode(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """`(frames, codebooks)` -> `(frames * frame,)`; of fewer codebooks, what the first ones give.

        Raises:
            OptionError: the shape is another, or a code is none of the codebook's.
        """
        stream = self.stream()
        parts = [stream.push(codes[start : start + PIECE]) for start in range(0, max(len(codes), 1), PIECE)]
        return np.concatenate([*parts, stream.finish()])

    def stream(self) -> EncodecStream:
        """A decoder that takes codes as they come."""
        return EncodecStream(self)


class EncodecStream:
    """Codes in, samples out as soon as later codes can't change them: six frames later, three on each side of the LSTM.

    Together, `decode` of all.
    """

    def __init__(self, codec: Encodec) -> None:
        self._codec = codec
        model = codec.model
        self._pieces = Pieces(model.decoder, model.config.reach, 1, codec.frame)

    @torch.inference_mode()
    def push(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """`(n, codebooks)` -> `(m,)` samples, perhaps none.

        Raises:
            OptionError: the shape is another, or a code is none of the codebook's.
        """
        given = torch.from_numpy(checked_codes(codes, self._codec)).to(self._codec.device)[None]
        if not given.shape[1]:
            return np.zeros(0, np.float32)
        return _samples([self._pieces.push(self._codec.model.quantizer.decode(given))])

    @torch.inference_mode()
    def finish(self) -> NDArray[np.float32]:
        """The rest."""
        return _samples(self._pieces.finish())


def _through(pieces: Pieces, parts: Iterable[Tensor]) -> Iterator[Tensor]:
    for part in parts:
        if (done := pieces.push(part)) is not None:
            yield done
    yield from pieces.finish()


def _samples(parts: Iterable[Tensor | None]) -> NDArray[np.float32]:
    arrays = [part[0, 0].float().cpu().numpy() for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else np.zeros(0, np.float32)
