"""A thousand requests, half of which are killed, cancelled or run out of time."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random

import pytest

from auricle.api import load
from auricle.engine.scheduler import Scheduler
from auricle.engine.store import Store
from auricle.errors import CancelledError, DeadlineError
from auricle.types import Answer, Ask
from tests.engine.scheduling import (
    CLIPS,
    TEXTS,
    alone,
    same,
)
from tests.engine.scripted import asked, request_for, together

# --- stress


class Killed(Exception):
    """By the test."""


def answered_or_killed(scheduler: Scheduler, ask: Ask, random: Random, way: str) -> Answer | None:
    """A request that is killed in some way at some moment; its answer, if it was done before."""
    if way == "timed out":
        ask = replace(ask, timeout_s=random.choice([1e-6, 0.001, 0.01]))
    request = scheduler.submit(request_for(scheduler.family, ask))
    chunks, moment = scheduler.chunks(request), random.randrange(5)
    if way == "cancelled":
        threading.Timer(random.choice([0, 0.001, 0.01]), scheduler.cancel, [request]).start()
        moment = -1
    try:
        while moment:
            moment -= 1
            if (answer := next(chunks).answer) is not None:
                return answer
        if way == "closed":
            chunks.close()
        elif way == "raised":
            chunks.throw(Killed)  # type: ignore[attr-defined]
        del chunks
    except (CancelledError, DeadlineError, Killed):
        pass
    scheduler.cancel(request)  # if nobody has begun to wait for it
    return None


def stress(folder: Path, count: int, *, threads: int, seconds: float) -> None:
    """Of so many requests half are killed, at random, from several threads."""
    random, family = Random(count), load(str(folder)).backend.family  # type: ignore[attr-defined]
    scheduler, caches = Scheduler(family, Store(2_000_000)), weakref.WeakSet()
    for make in ("new_cache", "ear"):  # what a request holds
        made = getattr(family, make)
        setattr(family, make, lambda made=made, **given: (one := made(**given), caches.add(one))[0])
    asks = []
    for number in range(30):
        clips = random.choices(CLIPS[:5], [4, 4, 4, 4, 1], k=random.choice([1, 1, 2]))
        parts = (*clips, random.choice(TEXTS)) if number % 2 else (random.choice(TEXTS), *clips)
        asks.append(asked(*parts, max_tokens=random.choice([1, 5, 20]), priority=random.randrange(3)))
    ways = ["answered"] * (count // 2) + ["closed", "dropped", "raised", "timed out", "cancelled"] * (count // 10)
    random.shuffle(ways)

    def work(seed: int) -> list[tuple[Ask, Answer]]:
        own, got = Random(seed), []
        while True:
            try:
                way = ways.pop()
            except IndexError:
                return got
            ask = own.choice(asks)
            if way == "answered":
                got.append((ask, scheduler.result(scheduler.submit(request_for(family, ask)))))
            elif (answer := answered_or_killed(scheduler, ask, own, way)) is not None:
                got.append((ask, answer))

    answers = list(chain(*together(*(partial(work, seed) for seed in range(threads)), seconds=seconds)))
    assert count // 2 <= len(answers) < 0.9 * count
    expected = {id(ask): alone(family, ask) for ask in asks}
    assert all(same(answer, expected[id(ask)]) for ask, answer in answers)
    time.sleep(0.02)  # for the last timers
    assert (scheduler.running, scheduler.waiting, scheduler._active) == (0, 0, [])
    use = scheduler.prefixes.store.use()
    assert 0 < use.bytes <= use.capacity
    scheduler.prefixes.store.clear()
    gc.collect()
    assert not caches


def test_what_is_killed_at_random_harms_none_of_the_others(folders: dict[str, Path]) -> None:
    stress(folders["e2b"], 100, threads=8, seconds=60)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["e2b", "e4b"])
def test_what_is_killed_among_a_thousand_harms_none_of_the_others(folders: dict[str, Path], name: str) -> None:
    stress(folders[name], 1000, threads=8, seconds=600)
