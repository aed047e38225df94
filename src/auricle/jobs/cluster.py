"""Rows of work on Ray Data: processes that each hold what is slow to make, such as a model.

https://docs.ray.io/en/latest/data/data.html
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from auricle.errors import AuricleError, OptionError
from auricle.jobs.extras import needed

LOCAL = "local"
CONNECT_S = 10.0


def failed(error: AuricleError) -> dict[str, Any]:
    """An error as columns of a row, since Ray would wrap it into pages of traceback."""
    return {"error": str(error), "status": error.exit_status}


FINE: dict[str, Any] = {"error": "", "status": 0}


def mapped(
    worker: type, arguments: tuple[Any, ...], rows: Sequence[dict[str, Any]], *, address: str = LOCAL, workers: int = 1
) -> Iterator[dict[str, Any]]:
    """What `worker(*arguments)` makes of each row, called with it, as the results come; the cluster is left after.

    Args:
        worker: a class that Ray makes in processes of its own; a call gives a row with the columns of `FINE` or of
            `failed`.
        address: of a cluster ("auto", "host:6379"); "local" starts one on this machine.
        workers: processes, at most; no more than there are rows.

    Raises:
        OptionError: workers is below 1; AuricleError: the cluster can't be reached, or what a worker met.
    """
    if workers < 1:
        raise OptionError(f"workers is {workers}; it must be at least 1")
    ray = needed("ray", "a cluster", "cluster")
    needed("ray.data", "a cluster", "cluster")
    _connect(ray, address)
    try:
        items = ray.data.from_items(list(rows), override_num_blocks=len(rows))
        size = min(workers, len(rows))
        computed = items.map(worker, fn_constructor_args=arguments, compute=ray.data.ActorPoolStrategy(size=size))
        for row in computed.iter_rows():
            if row["error"]:
                error = AuricleError(row["error"])
                error.exit_status = int(row["status"])
                raise error
            yield row
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Quietly: Ray's own log says little to whoever waits for results."""
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
