"""Batches on Ray: the rows come back here, so that one process writes them, as it would its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from auricle.errors import AuricleError
from auricle.evaluation.manifest import Clip
from auricle.evaluation.runner.asking import Asking
from auricle.evaluation.runner.hearing import answer, hear_all
from auricle.evaluation.runner.rows import Row
from auricle.jobs.cluster import FINE, LOCAL, failed, mapped
from auricle.sound.decode import Limits


class Worker:
    """Holds a task; answers a batch of clips for each row. Made by Ray, in a process of its own."""

    def __init__(self, asking: Asking, batches: Sequence[Sequence[Clip]], limits: Limits, where: str) -> None:
        os.chdir(where)  # paths are as they were given
        self.task, self.batches, self.limits = asking.build(), batches, limits

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            heard = hear_all(self.batches[int(row["batch"])], self.task.rate, self.limits)
            # As text: Arrow would give rows of different columns the same ones.
            return {"rows": json.dumps(answer(self.task, heard)), **FINE}
        except AuricleError as error:
            return {"rows": "[]", **failed(error)}


def on_cluster(
    asking: Asking, *, address: str = LOCAL, workers: int = 1, limits: Limits | None = None
) -> Callable[[Sequence[Sequence[Clip]]], Iterator[list[Row]]]:
    """What gives `evaluate` its answers: processes of a Ray cluster, each with a model of its own.

    Every machine has to see the sounds at the same paths. Batches come back in any order.

    Args:
        address: of a cluster ("auto", "host:6379"); "local" starts one on this machine.
        workers: processes.

    Raises:
        OptionError: workers is below 1; AuricleError: the cluster can't be reached, or what a worker met.
    """

    def answers(batches: Sequence[Sequence[Clip]]) -> Iterator[list[Row]]:
        arguments = (asking, batches, limits or Limits(), str(Path.cwd()))
        numbers = [{"batch": number} for number in range(len(batches))]
        for row in mapped(Worker, arguments, numbers, address=address, workers=workers):
            yield json.loads(row["rows"])

    return answers
