"""Tunes of sixteen bars by a simple grammar, as scale degrees on a grid of eighths: no sound yet.

A tune is A A' B A': four phrases of four bars. A phrase says one motif of a bar two or three times, as it is or a step
up or down, and comes to rest on the fifth (A, B) or the tonic (A'). So whoever has heard some bars can guess the next,
which is what a model is to learn.

Degrees count steps of the scale from the tonic at 0: 4 is the fifth above, -3 the fifth below, 7 the octave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EIGHTHS = 8  # in a bar
LOWEST, HIGHEST = -3, 7  # degrees
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}  # semitones; minor is natural
ROOTS = (0, 4, 3, 5)  # degrees that carry a bar's harmony, the likelier first; all have a perfect fifth

# Lengths in eighths; below zero is a rest.
RHYTHMS = (
    (2, 2, 2, 2),
    (2, 2, 4),
    (4, 2, 2),
    (1, 1, 2, 2, 2),
    (2, 1, 1, 2, 2),
    (2, 2, 1, 1, 2),
    (1, 1, 1, 1, 2, 2),
    (1, 1, 2, 1, 1, 2),
    (3, 1, 2, 2),
    (2, 2, 3, 1),
    (3, 1, 4),
    (2, 1, 1, 4),
    (2, 2, 2, -2),
    (1, 1, 1, 1, 2, -2),
)
CADENCES = ((2, 2, 4), (1, 1, 2, 4), (2, 6), (4, 4), (2, 1, 1, 4), (2, 2, 3, -1))
# A phrase's first three bars: m the motif, n another, u and d the motif a step up and down, v with another end.
PHRASES = ("mum", "mdm", "mnm", "mmn", "mvm", "mud", "mmv")


@dataclass(frozen=True)
class Event:
    """One note of a bar. Times in eighths."""

    start: int
    length: int
    degree: int


Bar = tuple[Event, ...]


def _walk(rng: np.random.Generator, place: int, count: int) -> list[int]:
    """Degrees that begin at a place and go on by steps, some thirds and some repeats, turning back at the limits."""
    degrees = [place]
    direction = int(rng.choice((-1, 1)))
    for _ in range(count - 1):
        direction = -direction if rng.random() < 0.3 else direction
        step = direction * int(rng.choice((0, 1, 2, 3), p=(0.1, 0.62, 0.22, 0.06)))
        if not LOWEST + 1 <= degrees[-1] + step <= HIGHEST - 1:  # one is left for the motif a step up or down
            direction, step = -direction, -step
        degrees.append(degrees[-1] + step)
    return degrees


def _bar(rhythm: tuple[int, ...], degrees: list[int]) -> Bar:
    """Put degrees on a rhythm: one to each length that is no rest."""
    starts = np.cumsum([0, *(abs(length) for length in rhythm)]).tolist()
    notes = [(start, length) for start, length in zip(starts, rhythm, strict=False) if length > 0]
    return tuple(Event(start, length, degree) for (start, length), degree in zip(notes, degrees, strict=True))


def _sounding(rhythm: tuple[int, ...]) -> int:
    return sum(length > 0 for length in rhythm)


def _motif(rng: np.random.Generator) -> Bar:
    rhythm = RHYTHMS[int(rng.integers(len(RHYTHMS)))]
    return _bar(rhythm, _walk(rng, int(rng.choice((0, 2, 4))), _sounding(rhythm)))


def _moved(bar: Bar, step: int) -> Bar:
    return tuple(Event(event.start, event.length, event.degree + step) for event in bar)


def _other_end(rng: np.random.Generator, bar: Bar) -> Bar:
    """The last note a step or a third elsewhere."""
    last = bar[-1]
    step = int(rng.choice((-2, -1, 1, 2)))
    step = step if LOWEST <= last.degree + step <= HIGHEST else -step
    return (*bar[:-1], Event(last.start, last.length, last.degree + step))


def _cadence(rng: np.random.Generator, before: int, target: int) -> Bar:
    """A bar that walks from near the degree `before` to a target by steps; the octave or the fifth below if nearer."""
    near = [degree for degree in (target, target - 7, target + 7) if LOWEST <= degree <= HIGHEST]
    goal = min(near, key=lambda degree: abs(degree - before))
    rhythm = CADENCES[int(rng.integers(len(CADENCES)))]
    count = _sounding(rhythm)
    side = 1 if before > goal or goal - count < LOWEST else -1
    side = side if goal + side * (count - 1) <= HIGHEST else -1
    return _bar(rhythm, [goal + side * left for left in range(count - 1, -1, -1)])


def _body(rng: np.random.Generator) -> list[Bar]:
    """The three bars of a phrase before its cadence."""
    motif = _motif(rng)
    parts = {
        "m": motif,
        "n": _motif(rng),
        "u": _moved(motif, 1),
        "d": _moved(motif, -1),
        "v": _other_end(rng, motif),
    }
    return [parts[letter] for letter in PHRASES[int(rng.integers(len(PHRASES)))]]


def tune(rng: np.random.Generator) -> list[Bar]:
    """Sixteen bars."""
    first, second = _body(rng), _body(rng)
    opened = [*first, _cadence(rng, first[-1][-1].degree, 4)]
    closed = [*first, _cadence(rng, first[-1][-1].degree, 0)]
    contrast = [*second, _cadence(rng, second[-1][-1].degree, 4)]
    return [*opened, *closed, *contrast, *closed]


def root(bar: Bar) -> int:
    """The degree in ROOTS whose triad holds most of a bar, by length; the bar's last note counts twice."""
    weights = [(event.length * (2 if event is bar[-1] else 1), event.degree % 7) for event in bar]

    def held(degree: int) -> int:
        triad = {degree % 7, (degree + 2) % 7, (degree + 4) % 7}
        return sum(weight for weight, tone in weights if tone in triad)

    return max(ROOTS, key=held)


def semitones(degree: int, mode: str) -> int:
    """From the tonic to a degree."""
    octave, step = divmod(degree, 7)
    return 12 * octave + SCALES[mode][step]
