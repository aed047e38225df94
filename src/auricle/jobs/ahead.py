"""Parts of some work, the next of which a thread makes while somebody is busy with this one: files that are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 2  # parts that are made before their turn, or are being made

Item = TypeVar("Item")
Part = TypeVar("Part")


def made_ahead(make: Callable[[Item], Part], items: Iterable[Item]) -> Iterator[Part]:
    """`make(item)` for each, in order; an error comes up at its turn. Whoever stops early leaves nothing running."""
    waiting: deque[Future[Part]] = deque()
    left = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        try:
            while True:
                while len(waiting) < AHEAD:
                    try:
                        item = next(left)
                    except StopIteration:
                        break
                    waiting.append(thread.submit(make, item))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
