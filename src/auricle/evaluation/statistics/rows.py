"""What arrays of a result are held to before anything is computed from them; a row is a clip that was answered."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auricle.errors import OptionError
from auricle.evaluation.statistics.special import Array

Codes = NDArray[np.int64]


def numbers(name: str, values: ArrayLike) -> Array:
    """`(rows,)` in float64.

    Raises:
        OptionError: one of them is no finite number.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise OptionError(f"{name} has {found.ndim} dimensions; it must have one number a row")
    if len(wrong := np.flatnonzero(~np.isfinite(found))):
        row = int(wrong[0])
        raise OptionError(f"{name} is {found[row]} in row {row} ({len(wrong)} such rows): leave those rows out")
    return found


def flags(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    """`(rows,)` of true and false, or 1 and 0.

    Raises:
        OptionError: something else is among them.
    """
    found = numbers(name, values)
    if len(wrong := np.flatnonzero((found != 0) & (found != 1))):
        raise OptionError(
            f"{name} is {found[wrong[0]]:g} in row {int(wrong[0])}; it must be true or false in every row"
        )
    return found == 1


def shares(name: str, values: ArrayLike) -> Array:
    """`(rows,)` of numbers from 0 to 1.

    Raises:
        OptionError: something else is among them.
    """
    found = numbers(name, values)
    if len(wrong := np.flatnonzero((found < 0) | (found > 1))):
        raise OptionError(f"{name} is {found[wrong[0]]:g} in row {int(wrong[0])}; it must be from 0 to 1")
    return found


def codes_of(values: Sequence[Hashable] | NDArray[np.generic]) -> tuple[Codes, int]:
    """Each row's source as a number from 0 up, `(rows,)`, in order of appearance, and how many there are."""
    seen: dict[Hashable, int] = {}
    codes = np.fromiter((seen.setdefault(one, len(seen)) for one in values), dtype=np.int64, count=len(values))
    return codes, len(seen)


def same_length(**columns: Sequence[object] | NDArray[np.generic]) -> int:
    """How many rows all of them have.

    Raises:
        OptionError: they differ; the message has each length.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise OptionError(f"rows don't match: {told}; each column needs one value a row")
    return next(iter(lengths.values()))


def known(value: Array | float) -> float | None:
    """A figure as a result has it: None for nan, which is how arrays say that there is none."""
    return None if np.isnan(value) else float(value)
