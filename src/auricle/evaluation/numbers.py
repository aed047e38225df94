"""Levels of a factor as people write them, and numbers as names have them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from auricle.errors import OptionError


def parse_levels(name: str, text: str) -> tuple[float, ...]:
    """`20,40,100` -> (20.0, 40.0, 100.0); `-10:20:5` is every fifth from -10 to 20.

    Raises:
        OptionError: one is no number.
    """
    return tuple(_numbers(name, text, words=()))


def parse_snr(text: str) -> tuple[float | None, ...]:
    """As `parse_levels`, with `clean` for no noise.

    Raises:
        OptionError: one is neither.
    """
    return tuple(None if math.isinf(value) else value for value in _numbers("snr", text, words=("clean",)))


def spelt(value: float, sign: bool = False) -> str:
    """A number in as few characters as tell it from every other: 20, 0.3, +5."""
    words = str(int(value)) if value == int(value) else repr(float(value))
    return f"+{words}" if sign and value >= 0 else words


def _numbers(name: str, text: str, words: Sequence[str]) -> Iterator[float]:
    for word in text.split(","):
        if (word := word.strip()) in words:
            yield math.inf
            continue
        try:
            numbers = [float(part) for part in word.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
            also = f", or {' or '.join(words)}" if words else ""
            raise OptionError(f"{name} has {word!r}; give numbers{also}, such as 20,40 or FIRST:LAST:STEP")
        if len(numbers) == 1:
            yield numbers[0]
            continue
        first, last, step = numbers
        count = round((last - first) / step, 9) if step else -1
        if not 0 <= count < 10_000:
            raise OptionError(f"{name} has {word!r}; FIRST:LAST:STEP must lead from the first to the last")
        yield from (round(first + i * step, 9) for i in range(int(count) + 1))
