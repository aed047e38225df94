"""Clips for the tests of runs: tones and noises, a few of each source, with a manifest."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16_000


def write_sounds(folder: Path, count: int, seconds: float = 0.3) -> list[dict[str, Any]]:
    """Loud tones and soft noises in turns, two clips of each source; rows for a manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, time = np.random.default_rng(5), np.arange(round(seconds * RATE)) / RATE
    rows = []
    for number in range(count):
        tone = number % 2 == 0
        samples = (
            0.3 * np.sin(2 * np.pi * (300 + 20 * number) * time) if tone else 0.01 * rng.standard_normal(len(time))
        )
        name = f"clip{number:03}.wav"
        soundfile.write(folder / name, samples, RATE, subtype="PCM_16")
        split = ("dev", "test")[number // 2 % 2]
        rows.append(
            {"path": name, "label": "tone" if tone else "noise", "source_id": f"s{number // 2}", "split": split}
        )
    return rows


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
