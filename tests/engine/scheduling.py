"""What the tests of the scheduler share: requests, what each gets alone, and ways for one to go wrong."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from auricle.engine.request import Request
from auricle.engine.scheduler import Scheduler
from auricle.engine.store import Store
from auricle.types import Answer, Ask, Audio, Scheduling
from tests.engine.scripted import TellingFamily, asked, noise, request_for

TEXTS = (
    "What?",
    "Which of these is louder, and who is it that speaks?",
    "Which of these is louder, and who is it that speaks first? " * 3,
    "Say all that there is to say. " * 40,
)
CLIPS = [noise(length, seed=length) for length in (161, 5_000, 16_000, 16_001, 100_000, 700_000)]


def scheduler_of(family: TellingFamily, cache: int = 10**9, **scheduling: int) -> Scheduler:
    return Scheduler(family, Store(cache), Scheduling(**scheduling))


def submitted(scheduler: Scheduler, *parts: str | Audio, **options: Any) -> Request:
    return scheduler.submit(request_for(scheduler.family, asked(*parts, **options)))


def alone(family: TellingFamily, ask: Ask) -> Answer:
    """What a request gets that has a scheduler for itself, and no cache."""
    scheduler = scheduler_of(family, 0)
    return scheduler.result(scheduler.submit(request_for(family, ask)))


def same(got: Answer, expected: Answer) -> bool:
    names = ("tokens", "text", "finish_reason", "prompt_tokens", "segments")
    return all(getattr(got, name) == getattr(expected, name) for name in names)


def some_ask(random: Random) -> Ask:
    """Any question: with the sound before or behind the text or without any, some of it shared with others."""
    lengths = [161, 640, 641, 9_000, 64_000, 70_000, 200_000]
    clips = [noise(length, seed=random.randrange(2)) for length in random.choices(lengths, k=random.randrange(4))]
    text = random.choice(TEXTS)
    settings: dict[str, Any] = {"max_tokens": random.choice([1, 2, 5, 40])}
    if random.random() < 0.3:
        settings |= {"temperature": 1.0, "seed": random.randrange(5)}
    if random.random() < 0.2:
        settings["stop"] = ("e", "th")
    settings |= {"priority": random.choice([0, 0, 0, 1]), "zero_audio": random.random() < 0.1}
    return asked(*((*clips, text) if random.random() < 0.5 else (text, *clips)), **settings)


def fails_once(error: BaseException, when: Callable[[Any], bool] = lambda _: True) -> Callable[[Any], None]:
    """A hook that raises the first time that a condition holds."""
    left = [error]

    def hook(what: Any) -> None:
        if left and when(what):
            raise left.pop()

    return hook


def given_up(request: Request) -> Request:
    return request


def interrupted(scheduler: Scheduler, request: Request) -> None:
    """Computes until Ctrl-C."""
    try:
        for _ in range(1000):
            scheduler.advance(request)
    except KeyboardInterrupt:
        return
    pytest.fail("it was never interrupted")
