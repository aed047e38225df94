"""Batches of an epoch: what is in them follows from (seed, epoch, item) alone, from wherever a run goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch

from auricle.audiolm.data.batches import Buckets
from auricle.audiolm.data.loader import Loader
from auricle.audiolm.data.manifests import Item, read_cuts
from auricle.audiolm.data.splits import Splitter
from auricle.audiolm.model.batch import Batch
from auricle.errors import InputError, OptionError
from tests.audiolm.data.test_manifests import write

SPLITTER = Splitter((0.2, 0.6), infill=0.3, drop=0.2)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("data")
    write(folder, count=40)
    return read_cuts(folder, "train")


def loader(
    items: Sequence[Item], *, rank: int = 0, world: int = 1, seed: int = 0, splitter: Splitter = SPLITTER
) -> Loader:
    return Loader(items, Buckets(items, 10, seed, rank=rank, world=world), splitter, seed, size=1024)


def same(first: Batch, second: Batch) -> bool:
    tensors = {name: value for name, value in vars(first).items() if isinstance(value, torch.Tensor)}
    return all(torch.equal(value, getattr(second, name)) for name, value in tensors.items())


def rows(batches: Iterator[Batch]) -> set[bytes]:
    """The target of every row."""
    return {
        target[:length].numpy().tobytes()
        for batch in batches
        for target, length in zip(batch.target_codes, batch.target_lens, strict=True)
    }


def test_each_item_is_prompt_and_target_of_one_row(items: list[Item]) -> None:
    found = list(loader(items, splitter=Splitter()).batches(0))
    assert sum(len(batch) for batch in found) == len(items)
    sounds = {item.load().tobytes() for item in items}
    for batch in found:
        for row in range(len(batch)):
            prompt = batch.prompt_codes[row, : batch.prompt_lens[row]]
            target = batch.target_codes[row, : batch.target_lens[row]]
            assert torch.cat([prompt, target]).numpy().tobytes() in sounds
            assert len(prompt) == int(0.4 * (len(prompt) + len(target)) + 0.5)  # of its own length, not of the batch's
    assert len({int(n) for batch in found for n in batch.prompt_lens}) > 10


def test_a_run_that_goes_on_gets_the_very_same_batches(items: list[Item]) -> None:
    whole = list(loader(items).batches(2))
    for first in (0, 1, len(whole) - 1, len(whole)):
        left = list(loader(items).batches(2, first))
        assert len(left) == len(whole) - first
        assert all(same(one, other) for one, other in zip(left, whole[first:], strict=True))
    assert loader(items).count(2) == len(whole)


def test_a_split_depends_on_nothing_but_seed_epoch_and_item(items: list[Item]) -> None:
    alone = rows(loader(items).batches(1))
    shared = [rows(loader(items, rank=rank, world=2).batches(1)) for rank in (0, 1)]
    assert shared[0] | shared[1] == alone
    assert not shared[0] & shared[1]
    assert rows(loader(items, seed=1).batches(1)) != alone
    assert rows(loader(items).batches(2)) != alone


def test_only_the_end_of_a_sound_is_an_end(items: list[Item]) -> None:
    clips = [replace(item, last=number % 2 == 0) for number, item in enumerate(items)]

    def ends(splitter: Splitter) -> int:
        return sum(int(batch.ends.sum()) for batch in loader(clips, splitter=splitter).batches(0))

    assert ends(Splitter()) == 20
    assert ends(Splitter(style=1.0, style_frames=10)) == 0
    assert 0 < ends(Splitter(infill=0.5)) < 20


def test_what_is_wrong_with_an_item_comes_up_at_its_batch(items: list[Item]) -> None:
    with pytest.raises(InputError, match="codebooks have 8 entries"):
        next(Loader(items, Buckets(items, 10), SPLITTER, size=8).batches(0))
    with pytest.raises(OptionError, match="seed is -1"):
        Loader(items, Buckets(items, 10), SPLITTER, -1)


def test_who_stops_early_leaves_nothing_running(items: list[Item]) -> None:
    batches = loader(items).batches(0)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
