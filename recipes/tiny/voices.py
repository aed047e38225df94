"""Who speaks: English accents of espeak-ng times its natural-sounding variants, at varied rate, pitch and melody.

Whole variants are held out, with every accent: what is measured on them is measured on voices never heard.
Robots, whispers and the like are left out, and so is mbrola, which needs data of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Names in the library; the command's "en-gb" is the library's "en". Share of the clips.
# The West Midlands drop their h ("hat" is "at") and the Caribbean says "day" for "they", so those are few.
ACCENTS = {
    "en-us": 0.30,
    "en": 0.28,
    "en-gb-x-rp": 0.11,
    "en-gb-scotland": 0.10,
    "en-us-nyc": 0.07,
    "en-gb-x-gbclan": 0.06,
    "en-029": 0.05,
    "en-gb-x-gbcwmd": 0.03,
}

DEFAULT = ""  # the accent's own voice
NUMBERED = ("m1", "m2", "m3", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4")
NAMED = tuple(
    """
    Alex Andrea Andy Annie Denis Diogo Gene Jacky Lee Marco Mike adam anika antonio aunty belinda benjamin boris caleb
    david ed grandma grandpa gustave john linda max michel miguel norbert pablo paul pedro quincy rob robert sandro
    shelby steph steph3 travis victor zac klatt klatt4
    """.split()
)
HELD_OUT = ("m4", "f5", "Alicia", "Michael", "edward", "steph2")

# Share of the default, of the numbered and of the named variants in training.
KIND_SHARES = (0.15, 0.50, 0.35)


@dataclass(frozen=True)
class Delivery:
    """A voice and how it speaks."""

    voice: str  # "en-us+f3"
    rate_wpm: int = 175
    pitch: int = 50  # 0 to 99
    pitch_range: int = 50  # 0 to 99


def _variant(rng: np.random.Generator, split: str) -> str:
    if split == "heldout":
        return str(rng.choice(HELD_OUT))
    kind = rng.choice(3, p=KIND_SHARES)
    return str(rng.choice(((DEFAULT,), NUMBERED, NAMED)[kind]))


def delivery(rng: np.random.Generator, split: str = "train") -> Delivery:
    """Draw a voice of a split ("train" or "heldout"): one time in three at espeak's plain defaults."""
    accent = str(rng.choice(list(ACCENTS), p=list(ACCENTS.values())))
    variant = _variant(rng, split)
    voice = f"{accent}+{variant}" if variant else accent
    if rng.random() < 1 / 3:
        return Delivery(voice)
    rate = float(np.clip(rng.normal(170, 24), 120, 220))
    return Delivery(voice, round(rate), int(rng.integers(30, 71)), int(rng.integers(30, 71)))
