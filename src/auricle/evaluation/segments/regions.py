"""Where in a recording a label holds, and nothing else: without what two labels claim, and away from boundaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from auricle.errors import OptionError
from auricle.evaluation.segments.annotations import Span


@dataclass(frozen=True)
class Region:
    """A stretch of one label."""

    start_s: float
    end_s: float
    label: str
    category: str  # the annotation's own word, or several of the same label that hold at once


@dataclass(frozen=True)
class Place:
    """Where a clip is: samples of its recording."""

    first: int
    count: int
    duration_ms: float | None  # what was asked for; None is the whole region


def parse_labels(text: str) -> dict[str, str]:
    """`CLEAN_SPEECH=speech,NO_SPEECH=nonspeech,*=other`: from the annotation's words to labels; * is all others.

    Raises:
        OptionError: a part isn't WORD=LABEL, or a word is there twice.
    """
    names: dict[str, str] = {}
    for part in text.split(","):
        word, equals, label = (piece.strip() for piece in part.partition("="))
        if not word or not equals or not label:
            raise OptionError(f"labels has {part.strip()!r}; each must be WORD=LABEL, such as NO_SPEECH=nonspeech")
        if word in names:
            raise OptionError(f"labels has {word!r} twice: give each word once")
        names[word] = label
    return names


def regions_of(
    spans: Sequence[Span],
    seconds: float,
    labels: Mapping[str, str] | None,
    gaps: str | None,
    skipped: Counter[str],
) -> list[Region]:
    """The regions of one recording, in order and apart from each other.

    Args:
        seconds: the recording's length.
        labels: what `parse_labels` gives; None keeps the annotation's words.
        gaps: the label of what no span covers; None leaves it out.
        skipped: gets what was left out, counted by reason.
    """
    named: list[tuple[float, float, str, str]] = []
    for span in spans:
        end = min(span.end_s, seconds)
        if math.isfinite(span.end_s) and span.end_s > seconds + 0.05:  # rounding of times is less
            skipped["spans that go past the end of their recording (what is there was used)"] += 1
        label = span.label if labels is None else labels.get(span.label, labels.get("*"))
        if end <= max(span.start_s, 0.0):
            skipped["spans of no length within their recording"] += 1
        # One whose word isn't mapped still says that something else is there.
        else:
            named.append((max(span.start_s, 0.0), end, label or "", span.label))
            if label is None:
                skipped[f"spans labelled {span.label}, which labels doesn't name"] += 1
    edges = sorted({0.0, seconds, *(edge for one in named for edge in one[:2])})
    found: list[Region] = []
    conflicts = 0
    for (start, end), here in zip(pairwise(edges), _at(named, edges), strict=True):
        there = {label for label, _ in here}
        if len(there) > 1:
            conflicts += 1
            continue
        label = there.pop() if here else gaps
        if not label:  # nothing is said of it, or something that labels doesn't name
            continue
        category = "+".join(sorted({word for _, word in here})) or "gap"
        last = found[-1] if found else None
        if last is not None and last.end_s == start and (last.label, last.category) == (label, category):
            found[-1] = Region(last.start_s, end, label, category)
        else:
            found.append(Region(start, end, label, category))
    if conflicts:
        skipped["stretches that have two labels at once"] += conflicts
    return found


def _at(named: Sequence[tuple[float, float, str, str]], edges: Sequence[float]) -> list[list[tuple[str, str]]]:
    """What holds between each edge and the next."""
    index = {edge: i for i, edge in enumerate(edges)}
    here: list[list[tuple[str, str]]] = [[] for _ in edges[1:]]
    for start, end, label, word in named:
        for i in range(index[start], index[end]):
            here[i].append((label, word))
    return here


def places_in(
    region: Region, durations: Sequence[float | None], margin_s: float, rate: int, random: np.random.Generator
) -> list[Place]:
    """Clips that don't overlap, as many of each duration as of the others while they fit; where exactly is chance.

    The longest are placed first: once a region is full of short clips, no long one fits.
    """
    start, end = math.ceil((region.start_s + margin_s) * rate), math.floor((region.end_s - margin_s) * rate)
    if end <= start:
        return []
    if None in durations:
        return [Place(start, end - start, None)]
    room = end - start
    sizes = sorted(((round(d * rate / 1000), d) for d in durations if d is not None), reverse=True)
    chosen: list[tuple[int, float]] = []
    while True:
        before = len(chosen)
        for size, duration in sizes:
            if size <= room:
                chosen.append((size, duration))
                room -= size
        if len(chosen) == before:
            break
    order = random.permutation(len(chosen))
    spaces = np.sort(random.integers(0, room + 1, len(chosen)))  # before each, taken together
    places, taken = [], 0
    for space, number in zip(spaces.tolist(), order.tolist(), strict=True):
        size, duration = chosen[number]
        places.append(Place(start + space + taken, size, duration))
        taken += size
    return places
