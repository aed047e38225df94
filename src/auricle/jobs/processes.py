"""Work in processes of this machine, each with something that is slow to make; results in the order of what was given.

The standard library's pools are not used: when the process that made one is killed, their workers wait for ever. Here
each has a pipe of its own, whose other end closes with whoever holds it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from auricle.errors import AuricleError
from auricle.types.checks import require

AHEAD = 4  # items for each process that may be done before their turn

Item = TypeVar("Item")
Part = TypeVar("Part")


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    make: Callable[..., Callable[[Item], Part]], arguments: tuple[Any, ...], items: Sequence[Item], workers: int
) -> Generator[Part, None, None]:
    """`make(*arguments)(item)` of each item, in order. Whoever stops early leaves no process behind.

    Args:
        make: importable by its name, as what it takes and gives can be pickled. It is called once in every process.
        workers: processes, at most; no more than there are items.

    Raises:
        OptionError: workers is below 1. AuricleError: what a worker raised, or one was killed.
    """
    require(workers >= 1, "workers", workers, "at least 1")
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    crew: dict[Connection, Any] = {}
    try:
        for _ in range(min(workers, len(items))):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
            process.start()
            theirs.close()
            crew[mine] = process
        yield from _ordered(crew, items)
    finally:
        for connection, process in crew.items():
            connection.close()
            process.terminate()
        for process in crew.values():
            process.join()


def _ordered(crew: dict[Connection, Any], items: Sequence[Any]) -> Iterator[Any]:
    idle, busy = deque(crew), dict[Connection, int]()
    done: dict[int, Any] = {}
    given = taken = 0
    while taken < len(items):
        while idle and given < min(len(items), taken + AHEAD * len(crew)):
            connection = idle.popleft()
            busy[connection] = given
            _send(connection, items[given], crew)
            given += 1
        for ready in wait(list(busy)):
            assert isinstance(ready, Connection)
            done[busy.pop(ready)] = _received(ready, crew)
            idle.append(ready)
        while taken in done:
            yield done.pop(taken)
            taken += 1


def _send(connection: Connection, item: Any, crew: dict[Connection, Any]) -> None:
    try:
        connection.send(item)
    except (BrokenPipeError, ConnectionError):
        _received(connection, crew)  # what it said before it ended
        raise


def _received(connection: Connection, crew: dict[Connection, Any]) -> Any:
    try:
        part, error = connection.recv()
    except (EOFError, ConnectionError):
        process = crew[connection]
        process.join()
        raise AuricleError(
            f"a process of the work was ended from outside (status {process.exitcode}), perhaps because memory ran "
            "out: run the same command again, with fewer workers"
        ) from None
    if error is not None:
        raise error
    return part


def _serve(connection: Connection, make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    """What a process does: an item in, a part out, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; whoever began the work ends it
    try:
        work = make(*arguments)
        while True:
            item = connection.recv()
            connection.send((work(item), None))
    except (EOFError, BrokenPipeError, ConnectionError):
        return
    except AuricleError as error:
        _tell(connection, error)
    except Exception as error:
        _tell(connection, RuntimeError(f"{type(error).__name__}: {error}"))


def _tell(connection: Connection, error: Exception) -> None:
    try:
        connection.send((None, error))
    except OSError:
        return
