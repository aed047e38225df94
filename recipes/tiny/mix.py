"""Training sound, mixed anew for every step: clips of the pool with pauses, levels, noise and music behind them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.models.gemma4.features import FeatureConfig, _hann, _mel_filters

RATE = 16_000
TOKEN = 640  # samples a token
PHONEME_DELAY = 1000  # samples: a token names the phoneme of 60 ms ago, which it has heard
WORD_DELAY = 640  # samples after a word's end when tokens begin to name it
INSTRUMENTS = ("piano", "guitar", "flute", "organ", "violin", "trumpet", "drums", "bells")
KINDS = ("silence", "noise", "tone", "speech", *INSTRUMENTS)  # music is named by its instrument
IGNORED = -100

_FEATURES = FeatureConfig()


class Pool:
    """The synthesised clips, memory-mapped."""

    def __init__(self, folder: Path, name: str) -> None:
        self.clips: list[dict[str, Any]] = []
        self.by_kind: dict[str, list[dict[str, Any]]] = {}
        self.sounds: list[NDArray[np.int16]] = []
        for index in sorted(folder.glob(f"{name}*.jsonl")):
            self.sounds.append(np.load(index.with_suffix(".npy"), mmap_mode="r"))
            with index.open() as lines:
                for line in lines:
                    clip = json.loads(line)
                    clip["shard"] = len(self.sounds) - 1
                    self.clips.append(clip)
                    self.by_kind.setdefault(clip.get("kind", "speech"), []).append(clip)

    def samples(self, clip: dict[str, Any]) -> NDArray[np.float32]:
        start = clip["start"]
        return self.sounds[clip["shard"]][start : start + clip["samples"]].astype(np.float32) / 32768


@dataclass
class Placed:
    """A clip in a mix: where it starts."""

    clip: dict[str, Any]
    start: int


@dataclass
class Mix:
    """One row of training sound."""

    samples: NDArray[np.float32]
    placed: list[Placed]
    snr_db: float | None  # of speech over what was mixed behind it


def level(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples))) + 1e-9)


def add_behind(
    rng: np.random.Generator, samples: NDArray[np.float32], others: Pool, snr_db: float, kinds: tuple[str, ...]
) -> NDArray[np.float32]:
    """Mixes a sound of one of these kinds behind another, at an SNR over the other's active part."""
    candidates = others.by_kind[kinds[rng.integers(len(kinds))]]
    behind = others.samples(candidates[rng.integers(len(candidates))])
    behind = np.resize(np.roll(behind, rng.integers(len(behind))), len(samples))
    active = samples[np.abs(samples) > 1e-3]
    if len(active) < 100:
        return samples
    return samples + behind * (level(active) / level(behind) * 10 ** (-snr_db / 20))


def row(rng: np.random.Generator, speech: Pool, others: Pool, length: int, noisy: float = 0.5) -> Mix:
    """A row of exactly `length` samples: clips one after the other, with pauses; now and then another sound."""
    out = np.zeros(length, dtype=np.float32)
    placed = []
    position = int(rng.integers(0, RATE // 2))
    while position < length - RATE // 4:
        pool = others if rng.random() < 0.12 else speech
        clip = pool.clips[rng.integers(len(pool.clips))]
        sound = pool.samples(clip)
        if pool is others:
            sound = sound[: int(rng.integers(RATE // 5, 2 * RATE))]
        sound = sound[: length - position] * np.float32(10 ** (rng.uniform(-18, 0) / 20))
        out[position : position + len(sound)] += sound
        placed.append(Placed({**clip, "samples": len(sound)}, position))
        position += len(sound) + int(rng.exponential(0.35) * RATE) + RATE // 20
    snr = float(rng.uniform(3, 30)) if rng.random() < noisy else None
    if snr is not None:
        out = add_behind(rng, out, others, snr, ("noise", "noise", "noise", "noise", "music"))
    out *= np.float32(min(1.0, 0.99 / (np.abs(out).max() + 1e-9)) * 10 ** (rng.uniform(-12, 0) / 20))
    return Mix(out, placed, snr)


class Targets:
    """Names to ids of the auxiliary heads."""

    def __init__(self, words: list[str], phonemes: list[str]) -> None:
        self.words = {word: i + 1 for i, word in enumerate(words)}  # 0: no word yet
        self.phonemes = {name: i + 1 for i, name in enumerate(phonemes)}  # 0: no speech

    def label(self, mix: Mix) -> dict[str, NDArray[np.int64]]:
        """For each token of the mix: phoneme, the last completed word and the two before it, the kind of sound."""
        tokens = _FEATURES.tokens(len(mix.samples))
        ends = np.arange(1, tokens + 1) * TOKEN  # the sample at which a token is final
        quiet = KINDS.index("silence") if mix.snr_db is None else IGNORED
        labels = {
            "phoneme": np.zeros(tokens, np.int64),
            "word": np.zeros(tokens, np.int64),
            "before": np.zeros(tokens, np.int64),
            "before2": np.zeros(tokens, np.int64),
            "kind": np.full(tokens, quiet, np.int64),
        }
        history = [0, 0, 0]
        for item in mix.placed:
            clip, start = item.clip, item.start
            stop = start + clip["samples"]
            inside = slice(np.searchsorted(ends, start + TOKEN), np.searchsorted(ends, stop))
            kind = clip.get("instrument") or clip.get("kind", "speech")
            labels["kind"][inside] = KINDS.index(kind)
            for i, (name, at) in enumerate(clip.get("phonemes", ())):
                last = i + 1 == len(clip["phonemes"])
                until = clip["samples"] if last else clip["phonemes"][i + 1][1]
                heard = np.searchsorted(ends, [start + at + PHONEME_DELAY, start + until + PHONEME_DELAY])
                labels["phoneme"][heard[0] : heard[1]] = self.phonemes.get(name, 0)
            for word, _, end in clip.get("words", ()):
                if end > clip["samples"]:
                    break  # cut off by the row's end
                history = [self.words[word], *history[:2]]
                heard_from = np.searchsorted(ends, start + end + WORD_DELAY)
                for name, value in zip(("word", "before", "before2"), history, strict=True):
                    labels[name][heard_from:] = value
        return labels


_WINDOW = torch.from_numpy(_hann(_FEATURES.frame_length))
_FILTERS = torch.from_numpy(_mel_filters(_FEATURES)).float()


def mel_batch(samples: Tensor) -> Tensor:
    """`(batch, samples)` -> `(batch, frames, mels)`, in float32: exact enough to train on, and quick."""
    padded = torch.nn.functional.pad(samples, (_FEATURES.frame_length // 2, 0))
    frames = padded.unfold(1, _FEATURES.frame_length + 1, _FEATURES.hop_length)[..., :-1]
    spectrum = torch.fft.rfft(frames * _WINDOW, n=_FEATURES.fft_length).abs()
    return torch.log(spectrum @ _FILTERS + _FEATURES.mel_floor)


def mask_bands(rng: np.random.Generator, mel: Tensor) -> Tensor:
    """Hides up to two bands of frequencies in a fifth of the rows, as SpecAugment does (arXiv:1904.08779)."""
    mel = mel.clone()
    for i in range(mel.shape[0]):
        if rng.random() < 0.2:
            for _ in range(2):
                width = int(rng.integers(0, 16))
                start = int(rng.integers(0, mel.shape[2] - width))
                mel[i, :, start : start + width] = mel[i].mean()
    return mel
