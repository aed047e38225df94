"""The end of tokenizing: manifests of all shards, and what there is to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from auricle.audiolm.data.shards import write_failures, write_manifest
from auricle.audiolm.data.sounds import SHARES
from auricle.jobs.parts import Job

FAILURES = "failures.jsonl"


@dataclass(frozen=True)
class InSplit:
    """What a split came to."""

    split: str
    sources: int
    sounds: int
    items: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    sounds: int  # that were asked for
    computed: int  # of these, in this run
    splits: tuple[InSplit, ...]  # those that have items
    failures: tuple[dict[str, Any], ...]  # id, path, reason
    cut: int  # sounds that became several items
    mixed: int  # sounds of several channels
    copies: tuple[tuple[str, str], ...]  # ids of the same samples in two splits, whose items would be learnt and tested

    @property
    def items(self) -> int:
        return sum(one.items for one in self.splits)


def finish(job: Job, records: Sequence[dict[str, Any]], sounds: int, computed: int) -> Outcome:
    """Writes the manifests and the failures of all shards.

    Args:
        records: what each shard came to, in their order.
        sounds: that were asked for.
        computed: of these, in this run.
    """
    failures = [one for record in records for one in record["failures"]]
    write_failures(job.out / FAILURES, failures)
    splits = []
    for split in SHARES:
        cuts = [cut for record in records if record["split"] == split for cut in record["cuts"]]
        if cuts:
            write_manifest(job.out, split, cuts)
            splits.append(_in_split(split, cuts))
    return Outcome(
        sounds=sounds,
        computed=computed,
        splits=tuple(splits),
        failures=tuple(failures),
        cut=sum(record["cut"] for record in records),
        mixed=sum(record["mixed"] for record in records),
        copies=tuple(_copies(records)),
    )


def _in_split(split: str, cuts: Sequence[dict[str, Any]]) -> InSplit:
    return InSplit(
        split,
        len({cut["custom"]["source"] for cut in cuts}),
        len({cut["features"]["recording_id"] for cut in cuts}),
        len(cuts),
        round(sum(cut["duration"] for cut in cuts), 6),
    )


def _copies(records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The same sound under two names in two splits: what is learnt from one would be tested on the other."""
    seen: dict[str, tuple[str, str]] = {}
    for record in records:
        for cut in record["cuts"]:
            name, split = cut["features"]["recording_id"], record["split"]
            first, where = seen.setdefault(cut["custom"]["sha256"], (name, split))
            if where != split:
                seen[cut["custom"]["sha256"]] = (first, split)  # told once a pair of splits
                yield first, name
