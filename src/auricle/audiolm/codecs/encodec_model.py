"""EnCodec's network (Défossez et al. 2022, https://arxiv.org/abs/2210.13438) as MusicGen's 32 kHz checkpoint has it.

What is unusual about it:
- Convolutions pad by reflection, and a file whose length is no multiple of the stride is filled up level by level.
- The LSTM between convolutions runs forward over the whole sound: the one part whose reach has no end. Everything else
  sees a frame or two to each side, so that long sound can be done in pieces (`streaming.py`) with the very same result.
- Checkpoints hold weights as norm times direction ("weight norm"), under one of two spellings; here they are multiplied
  out when they are loaded (`weights.py`). Names are else those of transformers' `EncodecModel`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.audiolm.codecs.encodec_config import EncodecConfig


class Conv(nn.Module):
    """A convolution that keeps time in place: `(batch, in, n)` -> `(batch, out, ceil(n / stride))`."""

    def __init__(
        self, config: EncodecConfig, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1
    ):
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation)
        self.causal, self.mode, self.stride = config.use_causal_conv, config.pad_mode, stride
        self.padding = (kernel - 1) * dilation + 1 - stride

    def forward(self, x: Tensor) -> Tensor:
        fill = -x.shape[-1] % self.stride
        right = 0 if self.causal else self.padding // 2
        return self.conv(padded(x, self.padding - right, right + fill, self.mode))


def padded(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    """Pads the last axis. What is too short to be reflected gets zeros behind it first, as in the reference."""
    if mode != "reflect" or not (left or right):
        return F.pad(x, (left, right), mode)
    missing = max(max(left, right) - x.shape[-1] + 1, 0)
    whole = F.pad(F.pad(x, (0, missing)), (left, right), mode)
    return whole[..., : whole.shape[-1] - missing]


class TransposedConv(nn.Module):
    """`(batch, in, n)` -> `(batch, out, n * stride)`; its kernel is two strides long."""

    def __init__(self, config: EncodecConfig, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride)
        right = math.ceil(stride * config.trim_right_ratio) if config.use_causal_conv else stride // 2
        self.trim = stride - right, right

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y[..., self.trim[0] : y.shape[-1] - self.trim[1]]


class Recurrent(nn.Module):
    """An LSTM with a way around it. `(batch, width, n)` -> the same, and the state to go on from."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, layers)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        steps = x.permute(2, 0, 1)
        y, state = self.lstm(steps, state)
        return (y + steps).permute(1, 2, 0), state


class Residual(nn.Module):
    """Two convolutions of half the width inside, beside a way around."""

    def __init__(self, config: EncodecConfig, width: int, dilation: int) -> None:
        super().__init__()
        inside = width // config.compress
        first = Conv(config, width, inside, config.residual_kernel_size, dilation=dilation)
        self.block = nn.ModuleList([nn.ELU(), first, nn.ELU(), Conv(config, inside, width, 1)])
        self.shortcut = Conv(config, width, width, 1) if config.use_conv_shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.block:
            y = layer(y)
        return self.shortcut(x) + y


class Half(nn.Module):
    """The encoder or the decoder: local layers, the LSTM, local layers."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self._middle = next(i for i, layer in enumerate(layers) if isinstance(layer, Recurrent))

    def before(self, x: Tensor) -> Tensor:
        """What comes before the LSTM."""
        for layer in self.layers[: self._middle]:
            x = layer(x)
        return x

    def through(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The LSTM, from a state on."""
        return self.layers[self._middle](x, state)

    def after(self, x: Tensor) -> Tensor:
        """What comes behind it."""
        for layer in self.layers[self._middle + 1 :]:
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.through(self.before(x), None)[0])


def encoder(config: EncodecConfig) -> Half:
    """`(batch, 1, samples)` -> `(batch, hidden_size, frames)`."""
    width = config.num_filters
    layers: list[nn.Module] = [Conv(config, config.audio_channels, width, config.kernel_size)]
    for ratio in reversed(config.upsampling_ratios):
        layers += residuals(config, width)
        layers += [nn.ELU(), Conv(config, width, 2 * width, 2 * ratio, ratio)]
        width *= 2
    layers += [Recurrent(width, config.num_lstm_layers), nn.ELU()]
    return Half([*layers, Conv(config, width, config.hidden_size, config.last_kernel_size)])


def decoder(config: EncodecConfig) -> Half:
    """`(batch, hidden_size, frames)` -> `(batch, 1, frames * frame)`."""
    width = config.num_filters * 2 ** len(config.upsampling_ratios)
    layers: list[nn.Module] = [Conv(config, config.hidden_size, width, config.kernel_size)]
    layers += [Recurrent(width, config.num_lstm_layers)]
    for ratio in config.upsampling_ratios:
        layers += [nn.ELU(), TransposedConv(config, width, width // 2, ratio)]
        width //= 2
        layers += residuals(config, width)
    return Half([*layers, nn.ELU(), Conv(config, width, config.audio_channels, config.last_kernel_size)])


def residuals(config: EncodecConfig, width: int) -> list[nn.Module]:
    return [Residual(config, width, config.dilation_growth_rate**i) for i in range(config.num_residual_layers)]


class Codebook(nn.Module):
    """One codebook: `(size, width)` vectors, of which the nearest stands for a frame."""

    embed: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("embed", torch.zeros(size, width))

    def nearest(self, x: Tensor) -> Tensor:
        """`(..., width)` -> indices `(...)`."""
        # |x - e|^2 less |x|^2, which is the same for every entry.
        return (self.embed.square().sum(-1) - 2 * x @ self.embed.T).argmin(-1)

    def forward(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.embed)


class Quantizer(nn.Module):
    """Residual vector quantisation: each codebook has what the ones before left over."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        books = [Codebook(config.codebook_size, config.hidden_size) for _ in range(config.codebooks)]
        self.layers = nn.ModuleList(nn.ModuleDict({"codebook": book}) for book in books)

    @property
    def books(self) -> list[Codebook]:
        return [layer["codebook"] for layer in self.layers]  # type: ignore[index]

    def encode(self, x: Tensor) -> Tensor:
        """`(batch, width, frames)` -> codes `(batch, frames, codebooks)`."""
        rest, codes = x.transpose(1, 2), []
        for book in self.books:
            codes.append(book.nearest(rest))
            rest = rest - book(codes[-1])
        return torch.stack(codes, dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """`(batch, frames, codebooks)` -> `(batch, width, frames)`; of fewer codebooks, the first ones."""
        parts = [book(codes[..., i]) for i, book in enumerate(self.books[: codes.shape[-1]])]
        return torch.stack(parts).sum(0).transpose(1, 2)


class EncodecModel(nn.Module):
    """The whole of it; `streaming.py` runs it on sound of any length."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder, self.quantizer = encoder(config), decoder(config), Quantizer(config)
