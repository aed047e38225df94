"""Batches of items of like length, by seconds: the same for every run, and as many on every rank.

lhotse's DynamicBucketingSampler was tried first (1.33, 20,000 cuts of 2 to 15 s, 150 s a batch). It repeats itself from
a seed, but: with padding a batch may be longer than was asked (3 of 1,227 were); to give every rank as many batches it
repeats items (2 of 200 on 4 ranks), which would count twice in a validation loss; its buckets come in the same order in
every epoch; it refuses fewer cuts than buckets; and it gets to batch i by making all before it from every cut. Here an
epoch is a list that follows from (seed, epoch): each item is in it once, and a run goes on at any place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from auricle.errors import OptionError
from auricle.types.checks import require

MOST_BUCKETS = 30
BATCHES_OF_A_BUCKET = 4  # at least: with fewer there is little to draw


class Lasting(Protocol):
    """Something with a length."""

    @property
    def seconds(self) -> float: ...


Kept = TypeVar("Kept", bound=Lasting)


class Buckets:
    """Divides items into batches.

    Args:
        items: in an order that every run has.
        max_seconds: of a batch, each of its items counted as the longest one.
        seed: of the order.
        buckets: groups of like length within which items are drawn at random: more of them, less padding. None chooses.
        rank, world: this process, and how many there are.

    Raises:
        OptionError: a value outside its range, an item longer than a batch, or fewer items than processes.
    """

    def __init__(
        self,
        items: Sequence[Lasting],
        max_seconds: float,
        seed: int = 0,
        *,
        buckets: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        require(0 < max_seconds < math.inf, "max_duration", max_seconds, "a number of seconds above 0")
        require(seed >= 0, "seed", seed, "at least 0")
        require(buckets is None or buckets >= 1, "buckets", buckets, "at least 1")
        require(0 <= rank < world, "rank", rank, f"from 0 to {world - 1}")
        self._seconds = np.array([one.seconds for one in items])
        if not len(items):
            raise OptionError("there are no items to make batches of: give more, or filter fewer out by their duration")
        if (longest := self._seconds.max()) > max_seconds:
            raise OptionError(
                f"max_duration is {max_seconds:g} s, and the longest item has {longest:g}: raise it, or leave out what "
                "is longer with filter_max_duration"
            )
        if len(items) < world:
            raise OptionError(f"{len(items)} items can't be shared by {world} processes: give more, or start fewer")
        self._max, self._seed, self._rank, self._world = max_seconds, seed, rank, world
        self._bucket = _bucket_of(self._seconds, buckets or _how_many(self._seconds.sum(), max_seconds))
        if world > 1:
            self.batches(0)  # whether they can be shared is known before a run begins

    def batches(self, epoch: int) -> list[list[int]]:
        """This rank's batches of an epoch, as numbers of items; together the ranks have every item once.

        At the same place in their lists, the ranks have batches of like length.

        Raises:
            OptionError: batches hold one item each, and these can't be shared evenly.
        """
        require(epoch >= 0, "epoch", epoch, "at least 0")
        rng = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(len(self._seconds))
        made = self._cut(order[np.argsort(self._bucket[order], kind="stable")].tolist())
        while len(made) % self._world:
            self._halve_one(made)
        places = rng.permutation(len(made) // self._world) * self._world + self._rank
        return [made[place] for place in places.tolist()]

    def _cut(self, order: list[int]) -> list[list[int]]:
        """Consecutive items, as many as fit into each batch."""
        made: list[list[int]] = []
        batch: list[int] = []
        longest = 0.0
        for number, seconds in zip(order, self._seconds[order].tolist(), strict=True):
            longest = max(longest, seconds)
            if batch and (len(batch) + 1) * longest > self._max:
                made.append(batch)
                batch, longest = [], seconds
            batch.append(number)
        return [*made, batch]

    def _halve_one(self, batches: list[list[int]]) -> None:
        """Makes two of the batch with the most items."""
        place = max(range(len(batches)), key=lambda number: len(batches[number]))
        batch = batches[place]
        if len(batch) == 1:
            raise OptionError(
                f"max_duration {self._max:g} s makes {len(batches)} batches of an item each, which {self._world} "
                "processes can't share evenly: raise it, so that two fit into one, or start fewer processes"
            )
        batches[place : place + 1] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]


def filtered(items: Iterable[Kept], shortest: float = 0.0, longest: float = math.inf) -> tuple[list[Kept], str | None]:
    """Those of a duration within bounds, and what to tell of the others; None where all are.

    Raises:
        OptionError: the bounds hold nothing between them.
    """
    require(0 <= shortest < math.inf, "filter_min_duration", shortest, "a number of seconds from 0")
    require(longest >= shortest, "filter_max_duration", longest, f"at least filter_min_duration, {shortest:g}")
    given = list(items)
    kept = [one for one in given if shortest <= one.seconds <= longest]
    short = sum(one.seconds < shortest for one in given)
    long = sum(one.seconds > longest for one in given)
    said = [f"{short} shorter than {shortest:g} s"] * bool(short) + [f"{long} longer than {longest:g} s"] * bool(long)
    return kept, f"{short + long} of {len(given)} items are left out: {', '.join(said)}" if said else None


def _how_many(seconds: float, max_seconds: float) -> int:
    return min(max(int(seconds / max_seconds / BATCHES_OF_A_BUCKET), 1), MOST_BUCKETS)


def _bucket_of(seconds: NDArray[np.float64], buckets: int) -> NDArray[np.int64]:
    """The bucket of each item: buckets hold as many seconds each, and items of one length are in the same."""
    ordered = np.sort(seconds)
    reached = np.cumsum(ordered)
    edges = ordered[np.searchsorted(reached, reached[-1] * np.arange(1, buckets) / buckets)]
    return np.searchsorted(edges, seconds, side="left")
