"""The tokens of a run: items of each split, as batches to train on and as batches to measure with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auricle.audiolm.codecs import DEFAULT as TINY_CODEC
from auricle.audiolm.data.batches import Buckets, filtered
from auricle.audiolm.data.loader import Loader
from auricle.audiolm.data.manifests import Item, read_cuts
from auricle.audiolm.data.splits import Splitter
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.training.metrics import Baselines
from auricle.audiolm.training.settings import Data
from auricle.checkpoint import Checkpoint
from auricle.errors import InputError, OptionError
from auricle.jobs.folder import readable
from auricle.jobs.parts import digest
from auricle.jobs.splits import check_splits

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
SIZES = {TINY_CODEC: 1024, "facebook/encodec_32khz": 2048}
UNNAMED = "facebook/encodec_32khz"  # the codec of manifests that name none: those of VALL-E's
COUNTED = 5000  # items that baselines are fitted to, at most


@dataclass(frozen=True)
class Tokens:
    """What `cuts_{train,validation,test}` hold, filtered by duration."""

    items: dict[str, list[Item]]
    codec: str
    size: int  # of a codebook
    codebooks: int
    frame_rate: float

    def about(self) -> dict[str, Any]:
        """What a run that goes on must find again; of each split how many items, and which. All files are read for it.

        Raises:
            InputError: a file can't be read.
        """
        files = {one.place.file for items in self.items.values() for one in items}
        content = {file: _content(file) for file in files}
        data = {
            split: [len(items), digest(*((_what(one), content[one.place.file]) for one in items))[:16]]
            for split, items in self.items.items()
        }
        return {"codec": self.codec, "codebook_size": self.size, "frame_rate": self.frame_rate, "data": data}

    def baselines(self) -> Baselines:
        """Fitted to the training items, or to some of them if they are many."""
        items = self.items[TRAIN]
        if len(items) > COUNTED:
            chosen = np.random.default_rng(0).permutation(len(items))[:COUNTED]
            items = [items[number] for number in sorted(chosen.tolist())]
        return Baselines.fit((one.load(self.size) for one in items), self.codebooks, self.size)


def read_tokens(data: Data, codebooks: int, note: Callable[[str], None]) -> Tokens:
    """The items of all splits.

    Args:
        note: called with what the user should know: items that are left out.

    Raises:
        InputError: a manifest or its files are missing, the codes are of another number of codebooks, or of two codecs,
            a split has no item of a duration that is allowed, or two splits share a source.
    """
    items: dict[str, list[Item]] = {}
    for split in SPLITS:
        read = read_cuts(data.manifest_dir, split, codebooks=None if split == TRAIN else codebooks)
        if read[0].codebooks != codebooks:
            raise OptionError(
                f"num_quantizers is {codebooks}, and the tokens in {data.manifest_dir} have {read[0].codebooks} "
                f"codebooks: give num_quantizers {read[0].codebooks}"
            )
        read[0].load(data.codebook_size)  # of another codec's codes, the first shows it before anything is begun
        items[split], left_out = filtered(read, data.filter_min_duration, data.filter_max_duration)
        if not items[split]:
            raise InputError(
                f"no item of {split} lasts {data.filter_min_duration:g} to {data.filter_max_duration:g} s: widen "
                "filter_min_duration and filter_max_duration, or tokenize into other lengths"
            )
        if left_out is not None:
            note(f"{split}: {left_out}")
    check_splits(((one.source, split) for split in SPLITS for one in items[split]), str(data.manifest_dir))
    every = [one for split in SPLITS for one in items[split]]
    codec = _the_only("codec", {one.codec for one in every}, data.manifest_dir) or UNNAMED
    rate = _the_only("frame rate", {one.frame_rate for one in every}, data.manifest_dir)
    return Tokens(items, codec, data.codebook_size or _size(codec), codebooks, rate)


def _what(item: Item) -> tuple[object, ...]:
    """All of an item but where its file lies: a folder may be moved."""
    place = (item.place.kind, item.place.key, item.first, item.frames)
    return item.id, item.codebooks, item.last, item.heard, *place


def _content(file: Path) -> str:
    """A hash of a file: codes are small, and training reads all of them anyway."""
    with readable(file, f"file {file} of codes", "there is no file"), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _the_only(what: str, found: set[Any], folder: Path) -> Any:
    if len(found) > 1:
        several = " and ".join(sorted(str(one) for one in found))
        raise InputError(f"{folder} has items of more than one {what} ({several}): train on one")
    return next(iter(found))


def _size(codec: str) -> int:
    """Entries of a codebook, without loading the codec.

    Raises:
        OptionError: it isn't known.
    """
    if codec in SIZES:
        return SIZES[codec]
    if Path(codec).is_dir():
        return int(Checkpoint(Path(codec)).config["codebook_size"])
    raise OptionError(f"codebook_size must be given: the tokens are of {codec}, which is not at hand to be asked")


def training_batches(tokens: Tokens, data: Data, seed: int, rank: int, world: int) -> Loader:
    """This process's share of the training items, in an order and with splits that follow from the seed."""
    items = tokens.items[TRAIN]
    buckets = Buckets(items, data.max_duration, seed, rank=rank, world=world)
    splitter = Splitter(data.prompt_fraction, data.infill, data.style, data.drop_prompt, data.style_frames)
    return Loader(items, buckets, splitter, seed, size=tokens.size)


@dataclass(frozen=True)
class Measured:
    """Batches of held-out items, the same whenever they are asked for; prompts are never dropped."""

    loader: Loader
    batches: Sequence[Sequence[int]]

    @classmethod
    def of(cls, tokens: Tokens, split: str, data: Data) -> Measured:
        items = tokens.items[split]
        splitter = Splitter(data.prompt_fraction, data.infill, data.style, 0.0, data.style_frames)
        loader = Loader(items, (buckets := Buckets(items, data.max_duration)), splitter, size=tokens.size)
        return cls(loader, buckets.batches(0))

    def shared(self, rank: int, world: int) -> Iterator[tuple[Batch, bool]]:
        """A process's batches, and whether each counts: all processes get as many, some of them one twice."""
        for first in range(0, len(self.batches), world):
            place = first + rank
            counts = place < len(self.batches)
            yield self.loader.batch(self.batches[place if counts else first], 0), counts
