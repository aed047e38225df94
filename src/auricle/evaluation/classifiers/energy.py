"""The least that can be heard: how loud a clip is where there is something. Whoever is no better hears nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np

from auricle.errors import AuricleError
from auricle.evaluation.classifiers.interface import Classified
from auricle.evaluation.classifiers.silero import speech_first
from auricle.evaluation.degrade.levels import SILENT, active_part, power
from auricle.types import Audio

THRESHOLD_DB = -40.0  # of full scale; the report chooses one on dev
SPREAD_DB = 5.0  # of the logistic that makes a share of a level; any other gives the same order


class Energy:
    """The first of two labels for a loud clip. `logits`: the level of its active part, in dB of full scale."""

    def __init__(self, labels: Sequence[str]) -> None:
        """
        Raises:
            OptionError: there are not two labels, or the second is the one called speech.
        """
        self.labels = speech_first(labels, "energy")

    def provenance(self) -> dict[str, Any]:
        return {
            "model": "energy",
            "revision": None,
            "backend": "energy",
            "device": "cpu",
            "dtype": "float64",
            "auricle": version("auricle"),
            "rule": f"threshold {THRESHOLD_DB:g} dB",
        }

    def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
        """Each by itself."""
        return [self._classified(sound) for sound in sounds]

    def _classified(self, sound: Audio) -> Classified:
        begun = perf_counter()
        samples = sound.samples.astype(np.float64)
        active = active_part(samples, sound.rate)
        level = 10 * math.log10(power(samples, active) if active.any() else SILENT)
        share = 1 / (1 + math.exp(-(level - THRESHOLD_DB) / SPREAD_DB))
        label = self.labels[0 if level >= THRESHOLD_DB else 1]
        took = 1000 * (perf_counter() - begun)
        return Classified(label, (share, 1 - share), (level,), "", f"threshold {THRESHOLD_DB:g} dB", 0.0, took)
