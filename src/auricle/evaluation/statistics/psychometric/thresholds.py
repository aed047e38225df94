"""Thresholds in the units that were tested, and said to be outside the tested range where they are.

A number outside is the curve's shape speaking, not a trial: so it isn't given, neither as an estimate nor as an end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from auricle.evaluation.statistics.special import Array

Scale = Literal["log", "linear"]
Outside = Literal["below", "above"]
Place = float | Outside
"""A level in the units that were tested; or on which side of the tested range."""


@dataclass(frozen=True)
class Axis:
    """From the levels that were tested to the search's range from 0 to 1, and back."""

    lowest: float  # in units
    highest: float
    scale: Scale

    def unit(self, levels: Array) -> Array:
        low, high = self._ends()
        return (self._turned(levels) - low) / (high - low)

    def place(self, unit: float) -> Place:
        """Outside 0 to 1 it is a side."""
        if unit < 0:
            return "below"
        if unit > 1:
            return "above"
        return self.level(unit)

    def level(self, unit: float) -> float:
        """Also outside, for a parameter of the curve; a threshold is a `place`."""
        low, high = self._ends()
        turned = low + unit * (high - low)
        return float(10**turned if self.scale == "log" else turned)

    @property
    def range(self) -> float:
        """The tested range: in decades on a logarithmic scale, else in units."""
        low, high = self._ends()
        return high - low

    def _ends(self) -> tuple[float, float]:
        low, high = self._turned(np.array([self.lowest, self.highest]))
        return float(low), float(high)

    def _turned(self, levels: Array) -> Array:
        return np.log10(levels) if self.scale == "log" else levels


@dataclass(frozen=True)
class Threshold:
    """Where a curve reaches a level of right answers."""

    level: float | None  # a share of right answers, guesses and lapses included; None is the curve's midpoint
    value: Place | None  # None where there is no curve to have one
    low: Place | None = None  # the ends of the interval; None where none can be had
    high: Place | None = None

    @property
    def censored(self) -> Outside | None:
        """On which side of the tested range the threshold is, if it is outside."""
        return self.value if isinstance(self.value, str) else None

    def told(self, unit: str) -> str:
        """In words: `35 ms (28 to 41 ms)`, `above the tested range (from 800 ms)`."""
        if self.value is None:
            return "no threshold"
        value = f"{self.value} the tested range" if isinstance(self.value, str) else f"{self.value:.3g} {unit}"
        return f"{value}{self._interval(unit)}"

    def _interval(self, unit: str) -> str:
        low, high = self.low, self.high
        if low is None or high is None:
            return ""
        if isinstance(low, float) and isinstance(high, float):
            return f" ({low:.3g} to {high:.3g} {unit})"
        if isinstance(low, float):
            return f" (from {low:.3g} {unit}, no upper end in the tested range)"
        if isinstance(high, float):
            return f" (to {high:.3g} {unit}, no lower end in the tested range)"
        return "" if low == high else " (anywhere in the tested range, or outside)"
