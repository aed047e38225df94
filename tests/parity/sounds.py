"""Sounds that the reference and ours must hear alike, at 16 kHz."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Samples = NDArray[np.float32]


def noise(samples: int, seed: int = 0, level: float = 0.1) -> Samples:
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def tone(samples: int, hertz: float = 440.0, level: float = 0.5) -> Samples:
    return (level * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.float32)


def silence(samples: int) -> Samples:
    return np.zeros(samples, dtype=np.float32)


def clicks(samples: int, every: int = 997) -> Samples:
    sound = silence(samples)
    sound[::every] = 1.0
    sound[every // 2 :: every] = -1.0
    return sound


def square(samples: int) -> Samples:
    """Full scale all the time: the loudest there is."""
    return np.where(np.arange(samples) // 37 % 2, 1.0, -1.0).astype(np.float32)


def babble(samples: int, seed: int = 0) -> Samples:
    """Harmonics that glide under a slow envelope, in a little noise: as lively as speech."""
    random = np.random.default_rng(seed)
    t = np.arange(samples) / RATE
    pitch = 120 + 40 * np.sin(2 * np.pi * random.uniform(0.5, 2) * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase + random.uniform(0, 6)) / k for k in range(1, 20))
    envelope = np.clip(np.sin(2 * np.pi * random.uniform(1, 4) * t), 0, 1)
    return (0.2 * voice * envelope + 0.01 * random.standard_normal(samples)).astype(np.float32)


KINDS: dict[str, Callable[[int], Samples]] = {
    "noise": noise,
    "tone": tone,
    "high tone": lambda samples: tone(samples, 7999.0),
    "faint tone": lambda samples: tone(samples, 1000.0, 1e-4),
    "silence": silence,
    "clicks": clicks,
    "square": square,
    "babble": babble,
}
