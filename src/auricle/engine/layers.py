"""Which layers are meant: "-1", "0,4,-1", "8:24:4" or "all", of a stage that a model has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from auricle.errors import OptionError
from auricle.types import Layers, StageShape

_NUMBER = re.compile(r"-?\d+")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")


def shape_of(stages: Mapping[str, StageShape], stage: str) -> StageShape:
    """
    Raises:
        OptionError: the model has no such stage; the message names those it has.
    """
    if stage not in stages:
        raise OptionError(f"this model has no stage {stage!r}; it has {', '.join(map(_described, stages.items()))}")
    return stages[stage]


def layers_of(layers: Layers, stage: str, shape: StageShape) -> tuple[int, ...]:
    """Layers by their numbers from 0, in the order asked for.

    Raises:
        OptionError: what is asked for is no such thing, or not there; the message names what is.
    """
    count = shape.blocks + 1
    there = f"stage {stage!r} has layers 0 to {shape.blocks}" if shape.blocks else f"stage {stage!r} has one output, 0"
    found: list[int] = []
    for asked in _asked(layers, count):
        number = asked + count if asked < 0 else asked
        if not 0 <= number < count:
            raise OptionError(f"there is no layer {asked}: {there} (-1 is the last)")
        if number in found:
            raise OptionError(f"layer {number} is asked for twice in layers {layers!r}: once will do")
        found.append(number)
    if not found:
        raise OptionError(f"layers {layers!r} are none: {there} (-1 is the last)")
    return tuple(found)


def _asked(layers: Layers, count: int) -> Iterator[int]:
    """The numbers as they are written; those of slices as Python counts them."""
    if isinstance(layers, str):
        words: tuple[object, ...] = tuple(word.strip() for word in layers.split(","))
    else:
        words = tuple(layers) if isinstance(layers, tuple | list) else (layers,)
    for word in words:
        if isinstance(word, int) and not isinstance(word, bool):
            yield word
        elif word == "all":
            yield from range(count)
        elif isinstance(word, str) and _NUMBER.fullmatch(word):
            yield int(word)
        elif isinstance(word, str) and (parts := _SLICE.fullmatch(word)) and parts[3] != "0":
            yield from range(count)[slice(*(None if part is None else int(part) for part in parts.groups()))]
        else:
            raise OptionError(
                f"layers is {layers!r}; it must be a number, a list such as 0,4,-1, a slice such as 8:24:4, or all"
            )


def _described(stage: tuple[str, StageShape]) -> str:
    name, shape = stage
    return f"{name!r} (layers 0 to {shape.blocks})" if shape.blocks else repr(name)
