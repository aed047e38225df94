"""EnCodec's `config.json`, with what we run of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from auricle.errors import CheckpointError


@dataclass(frozen=True)
class EncodecConfig:
    """Fields as transformers' `EncodecConfig` has them; defaults are those of its class, not of the 32 kHz model.

    Raises:
        CheckpointError: what we don't run: sound of two channels, its normalisation, norms over time.
    """

    sampling_rate: int = 24_000
    audio_channels: int = 1
    normalize: bool = False
    target_bandwidths: tuple[float, ...] = (1.5, 3.0, 6.0, 12.0, 24.0)  # kbit/s; the largest says how many codebooks
    hidden_size: int = 128
    num_filters: int = 32
    num_residual_layers: int = 1
    upsampling_ratios: tuple[int, ...] = (8, 5, 4, 2)
    norm_type: str = "weight_norm"
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    dilation_growth_rate: int = 2
    use_causal_conv: bool = True
    pad_mode: str = "reflect"
    compress: int = 2
    num_lstm_layers: int = 2
    trim_right_ratio: float = 1.0
    codebook_size: int = 1024
    codebook_dim: int | None = None
    use_conv_shortcut: bool = True

    def __post_init__(self) -> None:
        if self.audio_channels != 1 or self.normalize:
            raise CheckpointError(
                f"this EnCodec takes {self.audio_channels} channels{', normalised' if self.normalize else ''}; "
                "Auricle runs those of one channel without normalisation, such as facebook/encodec_32khz"
            )
        if self.norm_type != "weight_norm":
            raise CheckpointError(f"this EnCodec has norm_type {self.norm_type!r}; Auricle runs weight_norm")
        if self.pad_mode not in ("reflect", "constant"):
            raise CheckpointError(f"this EnCodec pads by {self.pad_mode!r}; Auricle knows reflect and constant")
        if self.codebook_dim not in (None, self.hidden_size):
            raise CheckpointError(
                f"this EnCodec has codebooks {self.codebook_dim} wide behind an encoder {self.hidden_size} wide"
            )
        if self.codebooks < 1:
            raise CheckpointError(f"this EnCodec's bandwidth {max(self.target_bandwidths)} kbit/s holds no codebook")

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> EncodecConfig:
        """From `config.json`; fields that only training or the reference reads are left out.

        Raises:
            CheckpointError: a field has a value of another type than ours.
        """
        try:
            known = {one.name: config[one.name] for one in fields(cls) if one.name in config}
            for name in ("target_bandwidths", "upsampling_ratios"):
                if name in known:
                    known[name] = tuple(known[name])
            return cls(**known)
        except TypeError as error:
            raise CheckpointError(f"the codec's config.json can't be used ({error}): fetch it again") from error

    @cached_property
    def frame(self) -> int:
        """Samples a frame."""
        return math.prod(self.upsampling_ratios)

    @cached_property
    def codebooks(self) -> int:
        """As many as the largest bandwidth pays for."""
        bits = math.log2(self.codebook_size) * math.ceil(self.sampling_rate / self.frame)
        return int(1000 * max(self.target_bandwidths) // bits)

    @cached_property
    def reach(self) -> int:
        """Frames to either side of a frame that the convolutions before the LSTM see, or those behind it, at most.

        On one side of it are the levels of the encoder, or of the decoder, of which it is the sum in samples of the
        sound; on the other is one convolution over frames.
        """
        ends = max(self.kernel_size, self.last_kernel_size)
        samples, step = float(ends), 1
        for ratio in reversed(self.upsampling_ratios):
            blocks = sum(self.dilation_growth_rate**i for i in range(self.num_residual_layers))
            samples += step * ((self.residual_kernel_size - 1) * blocks + 2 * ratio)
            step *= ratio
        # Causal ones see all of it on one side.
        if self.use_causal_conv:
            return max(math.ceil(2 * samples / self.frame), ends - 1)
        return max(math.ceil(samples / self.frame), ends // 2)
