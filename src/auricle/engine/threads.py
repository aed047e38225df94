"""One thread for models that are too small to share, unless somebody chose how many.

Threads wait for each other after every product. Where these take microseconds a second thread gains little, and on a
machine that others use as well each wait may last until the other thread has had its turn: with two busy neighbours on
two cores, `tiny` scored 0.5 clips a second on two threads, and 36 on one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SHARED = 30_000_000  # parameters from which a model's products are worth sharing


@contextmanager
def threads_for(device: torch.device, parameters: int) -> Iterator[None]:
    """While this lasts, a small model on a CPU has one of torch's threads; another keeps all that it has."""
    before = torch.get_num_threads()  # of the calling thread: each has a number of its own
    if device.type != "cpu" or parameters >= SHARED or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
