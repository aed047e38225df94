"""Batches of an epoch from any place on, read ahead of whoever trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from auricle.audiolm.data.batches import Buckets
from auricle.audiolm.data.manifests import Item
from auricle.audiolm.data.splits import Splitter
from auricle.audiolm.model.batch import Batch
from auricle.jobs.ahead import made_ahead
from auricle.types.checks import require


class Loader:
    """Reads items, splits each, and pads them into batches.

    Args:
        size: of a codebook: a code that is none of it is an error. None doesn't look.
        seed: of the splits.

    Raises:
        OptionError: the seed is below 0.
    """

    def __init__(
        self, items: Sequence[Item], buckets: Buckets, splitter: Splitter, seed: int = 0, *, size: int | None = None
    ) -> None:
        require(seed >= 0, "seed", seed, "at least 0")
        self._items, self._buckets, self._splitter = items, buckets, splitter
        self._seed, self._size = seed, size

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This rank's batches of an epoch, from batch `first` on: the same, whether or not those before it were made.

        Raises, when it comes to it:
            InputError: an item's codes can't be read, or are none of the codebook's.
        """
        return made_ahead(lambda numbers: self.batch(numbers, epoch), self._buckets.batches(epoch)[first:])

    def count(self, epoch: int) -> int:
        """How many batches each rank has of an epoch."""
        return len(self._buckets.batches(epoch))

    def batch(self, numbers: Sequence[int], epoch: int) -> Batch:
        """Some items as they are split in an epoch: by (seed, epoch, number of the item), and nothing else."""
        items = [self._items[number] for number in numbers]
        split = [
            self._splitter.split(
                torch.from_numpy(item.load(self._size)),
                np.random.default_rng((self._seed, epoch, number)),
                heard=item.heard,
            )
            for number, item in zip(numbers, items, strict=True)
        ]
        # A clip that a sound goes on after teaches no end, though its target may be the last of it.
        ends = [one.ends and item.last for one, item in zip(split, items, strict=True)]
        return Batch.of([one.prompt for one in split], [one.target for one in split], ends)
