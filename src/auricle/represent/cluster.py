"""The shards of a plan on Ray Data: a process of each worker holds the model, and writes its shards' files itself.

The folder has to be one that every machine sees, at the same path, as the sounds are. What is written is what one
process would write; a run goes on from what is there, whoever wrote it (https://docs.ray.io/en/latest/data/data.html).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from auricle.api import Model, load
from auricle.errors import AuricleError, OptionError
from auricle.jobs.cluster import FINE, LOCAL, failed, mapped
from auricle.jobs.folder import locked, told_when_full
from auricle.represent.inputs import Items
from auricle.represent.plan import Plan, Settings, outline
from auricle.represent.run import Outcome, Progress, compute, open_store
from auricle.represent.shards import Store
from auricle.sound.decode import Limits
from auricle.types import Extraction


class Worker:
    """Holds a model; computes and writes a shard for each row. Made by Ray, in a process of its own."""

    def __init__(
        self,
        model: str,
        loading: dict[str, Any],
        items: Items,
        plan: Plan,
        extraction: Extraction,
        out: str,
        limits: Limits,
        strict: bool,
        where: str,
    ) -> None:
        os.chdir(where)  # paths are as they were given, so that the index says the same as one process would
        self.model = load(model, **loading)
        self.items, self.extraction, self.limits, self.strict = items, extraction, limits, strict
        self.store = Store(Path(out), plan)
        self.shards = plan.whole(self.store.lengths())

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        shard = self.shards[int(row["shard"])]
        try:
            done = compute(self.model, self.items, shard, self.extraction, limits=self.limits, strict=self.strict)
            with told_when_full(self.store.out, "the shards that are whole can be read"):
                self.store.write(shard.number, done)
        except AuricleError as error:
            return {"shard": shard.number, **failed(error)}
        return {"shard": shard.number, **FINE}


def represent_on_cluster(
    model: Model,
    loading: dict[str, Any],
    items: Items,
    out: str | Path,
    extraction: Extraction,
    settings: Settings,
    *,
    address: str = LOCAL,
    workers: int = 1,
    limits: Limits | None = None,
    strict: bool = False,
    progress: Progress = lambda done, whole: None,
) -> Outcome:
    """As `represent`, by the machines of a Ray cluster.

    Args:
        model: makes the plan; its name is loaded again by every worker, with the arguments `loading`.
        address: of a cluster ("auto", "host:6379"); "local" starts one on this machine.
        workers: processes, each with a model.

    Raises:
        The errors of `represent`; OptionError for format "memmap", whose one file has one writer; AuricleError when
        the cluster can't be reached.
    """
    if settings.format == "memmap":
        raise OptionError("format is memmap, one file that many machines can't append to: use safetensors or npz")
    limits, folder = limits or Limits(), Path(out).resolve()
    asked = outline(model, items, extraction, settings, limits)
    with locked(folder):
        store = open_store(model, asked, items, settings, folder, limits)
        shards = store.plan.whole(store.lengths())
        left = [shard for shard in shards if not store.done(shard.number)]
        if left:
            arguments = (
                model.name,
                loading,
                items,
                store.plan,
                extraction,
                str(folder),
                limits,
                strict,
                str(Path.cwd()),
            )
            done = len(items.paths) - sum(shard.end - shard.first for shard in left)
            sizes = {shard.number: shard.end - shard.first for shard in left}
            rows = [{"shard": number} for number in sizes]
            for row in mapped(Worker, arguments, rows, address=address, workers=workers):
                done += sizes[int(row["shard"])]
                progress(done, len(items.paths))
        with told_when_full(folder, "all shards are written, the index is not"):
            vectors = store.finish()
        return Outcome(len(items.paths), vectors, len(shards), len(left), tuple(store.failures()))
