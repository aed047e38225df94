"""The shards of a plan on Ray Data: a process of each worker holds the model, and writes its shards' files itself.

The folder has to be one that every machine sees, at the same path, as the sounds are. What is written is what one
process would write; a run goes on from what is there, whoever wrote it (https://docs.ray.io/en/latest/data/data.html).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auricle.api import Model, load
from auricle.errors import AuricleError, OptionError
from auricle.represent.extras import needed
from auricle.represent.inputs import Items
from auricle.represent.plan import Plan, Settings, Shard, outline
from auricle.represent.run import Outcome, Progress, compute, locked, open_store
from auricle.represent.shards import Store
from auricle.represent.writing import told_when_full
from auricle.sound.decode import Limits
from auricle.types import Extraction

LOCAL = "local"
CONNECT_S = 10.0


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
        except AuricleError as error:  # as a row, since Ray would wrap it into pages of traceback
            return {"shard": shard.number, "error": str(error), "status": error.exit_status}
        return {"shard": shard.number, "error": "", "status": 0}


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
    if workers < 1:
        raise OptionError(f"workers is {workers}; it must be at least 1")
    ray, limits, folder = needed("ray", "a cluster", "cluster"), limits or Limits(), Path(out).resolve()
    needed("ray.data", "a cluster", "cluster")
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
            _connect(ray, address)
            try:
                _run(ray, arguments, left, min(workers, len(left)), len(items.paths), progress)
            finally:
                ray.shutdown()
        with told_when_full(folder, "all shards are written, the index is not"):
            vectors = store.finish()
        return Outcome(len(items.paths), vectors, len(shards), len(left), tuple(store.failures()))


def _run(
    ray: Any, arguments: tuple[Any, ...], left: Sequence[Shard], workers: int, count: int, progress: Progress
) -> None:
    done = count - sum(shard.end - shard.first for shard in left)
    sizes = {shard.number: shard.end - shard.first for shard in left}
    rows = ray.data.from_items([{"shard": number} for number in sizes], override_num_blocks=len(left))
    computed = rows.map(Worker, fn_constructor_args=arguments, compute=ray.data.ActorPoolStrategy(size=workers))
    for row in computed.iter_rows():
        if row["error"]:
            error = AuricleError(row["error"])
            error.exit_status = int(row["status"])
            raise error
        done += sizes[int(row["shard"])]
        progress(done, count)


def _connect(ray: Any, address: str) -> None:
    """Quietly: Ray's own log says little to whoever waits for embeddings."""
    try:
        _knock(address)
        ray.init(
            address=None if address == LOCAL else address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False,
        )
    except (OSError, RuntimeError, ValueError, OverflowError, ImportError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuricleError(f"no Ray cluster at {address!r} ({first}): start one, or give local") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _knock(address: str) -> None:
    """Raises where nobody listens: Ray itself would try for minutes, and write about it to the terminal."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
