"""How much of a sound is taken in at most, and what is said of one that goes past it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from auricle.errors import OptionError, TooLongError

VALUES_PER_S = 800_000  # of all channels together: eight of them at 96 kHz are fewer


@dataclass(frozen=True)
class Limits:
    """How much is decoded at most; checked against what a file claims, and again while it is read."""

    max_seconds: float = 3600.0
    max_bytes: int = 2 << 30  # of the encoded sound

    def __post_init__(self) -> None:
        if not 0 < self.max_seconds < math.inf:
            raise OptionError(f"max_seconds is {self.max_seconds}; it must be a number of seconds above 0")
        if self.max_bytes < 1:
            raise OptionError(f"max_bytes is {self.max_bytes}; it must be at least 1")

    @property
    def max_values(self) -> float:
        """Samples of all channels: a file may have a rate at which a minute takes longer to decode than an hour."""
        return self.max_seconds * VALUES_PER_S

    def check_values(self, name: str, values: float) -> None:
        if values > self.max_values:
            raise TooLongError(
                f"{name} has more than {self.max_values:,.0f} samples in its channels together, the most for "
                f"{self.max_seconds:,g} s: bring it to a lower rate"
            )

    def too_long(self, name: str, seconds: float | None = None) -> TooLongError:
        """What to say of a sound that is longer; its length where it is known."""
        how_long = f"is {seconds:,.2f} s long" if seconds is not None else f"goes on after {self.max_seconds:,g} s"
        return TooLongError(f"{name} {how_long}; the limit is {self.max_seconds:,g} s: cut it, or raise max_seconds")
