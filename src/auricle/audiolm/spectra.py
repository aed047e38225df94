"""How like one sound is to another: SI-SDR and log-mel distance, in torch, so that a codec can be trained on them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

FLOOR = 3e-4  # a mel band below -70 dB counts as silent


@lru_cache(maxsize=32)
def mel_bank(rate: int, size: int, bands: int) -> Tensor:
    """`(size / 2 + 1, bands)` triangles between 0 Hz and half the rate, even on the mel scale 2595 log10(1 + f / 700).

    Each sums to one, so that a band's value doesn't grow with its width. A triangle too narrow for the resolution takes
    the bin that is nearest.
    """
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(top), bands + 2) / 2595) - 1)
    hertz = torch.linspace(0, rate / 2, size // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp_min(0)
    empty = bank.sum(0) == 0
    bank[(hertz - edges[1:-1]).abs().argmin(0)[empty], empty.nonzero()[:, 0]] = 1
    return bank / bank.sum(0)


def log_mel(x: Tensor, rate: int, *, size: int = 1024, hop: int | None = None, bands: int = 80) -> Tensor:
    """`(batch, samples)` in [-1, 1] -> natural log of magnitudes `(batch, frames, bands)`, from a Hann window of `size`
    samples scaled so that a full-scale sine's peak is about 1."""
    window = torch.hann_window(size, device=x.device)
    spectrum = torch.stft(x, size, hop or size // 4, window=window, return_complex=True)
    magnitude = spectrum.abs().transpose(1, 2) * (2 / window.sum())
    return (magnitude @ mel_bank(rate, size, bands).to(x.device)).clamp_min(FLOOR).log()


def log_mel_distance(x: Tensor, y: Tensor, rate: int) -> Tensor:
    """Mean absolute difference of `log_mel`, in dB, of each of a batch of sounds: `(batch,)`."""
    difference = (log_mel(x, rate) - log_mel(y, rate)).abs().mean(dim=(1, 2))
    return difference * (20 / torch.log(torch.tensor(10.0)))


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), `(batch, samples)` -> `(batch,)`."""
    reference = reference - reference.mean(-1, keepdim=True)
    estimate = estimate - estimate.mean(-1, keepdim=True)
    scale = (estimate * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True).clamp_min(1e-9)
    target = scale * reference
    return 10 * torch.log10(
        target.square().sum(-1).clamp_min(1e-9) / (estimate - target).square().sum(-1).clamp_min(1e-9)
    )
