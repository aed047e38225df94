"""Many requests on one model: the answers are those that each would get alone, whatever happens to the others.

Most of it on a family whose answers tell whether anything was lost or mixed up (`TellingFamily`); what is said of
numbers, on tiny random checkpoints.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from auricle.api import load
from auricle.checkpoint import Checkpoint
from auricle.engine import scheduler as scheduler_module
from auricle.engine.request import Request
from auricle.engine.scheduler import ROWS_ALONE, ROWS_IN_COMPANY, SECONDS_IN_COMPANY, Scheduler
from auricle.engine.store import Store
from auricle.errors import AuricleError, BusyError, CancelledError, DeadlineError, OptionError, PromptError, SoundError
from auricle.models.family import Part
from auricle.quant.quantize import quantize
from auricle.types import Answer, Ask, Audio, Chunk, Scheduling
from tests.checkpoints import make_checkpoint
from tests.engine.scripted import TellingFamily, asked, noise, request_for, together

TEXTS = (
    "What?",
    "Which of these is louder, and who is it that speaks?",
    "Which of these is louder, and who is it that speaks first? " * 3,
    "Say all that there is to say. " * 40,
)


@pytest.fixture
def family(tmp_path: Path) -> TellingFamily:
    return TellingFamily(tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TellingFamily:
    """Another, to be asked by one at a time."""
    return TellingFamily(tmp_path_factory.mktemp("plain"))


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


# --- the same tokens as alone


@pytest.mark.parametrize("seed", range(30))
def test_any_requests_at_any_moment_get_the_answers_they_get_alone(
    family: TellingFamily, plain: TellingFamily, seed: int
) -> None:
    """Also where passes fail, and where Ctrl-C ends one of them in the middle of a pass."""
    random = Random(seed)
    family.slack, family.hears = random.choice([None, 600, 2000]), random.random() < 0.8
    scheduler = scheduler_of(family, random.choice([0, 60_000, 10**9]), max_running=random.randrange(1, 6))

    def trouble(part: Part | int) -> None:
        if random.random() < 0.02 * (seed % 2):
            raise KeyboardInterrupt
        if isinstance(part, Part) and len(family.log[-1][1]) > 1 and random.random() < 0.05 * (seed % 3):
            raise RuntimeError("too many of them")

    family.on_part = family.on_hear = trouble
    waiting, going, done = [some_ask(random) for _ in range(12)], [], 0
    while waiting or going:
        if waiting and (not going or random.random() < 0.2):
            ask = waiting.pop()
            going.append((ask, scheduler.chunks(scheduler.submit(request_for(family, ask)))))
        ask, chunks = one = random.choice(going)
        try:
            chunk = next(chunks)
        except KeyboardInterrupt:
            going.remove(one)
            continue
        if chunk.answer is not None:
            assert same(chunk.answer, alone(plain, ask))
            going.remove(one)
            done += 1
    assert done > 3
    assert done == 12 or seed % 2
    del chunks, one
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_from_several_threads(family: TellingFamily, plain: TellingFamily) -> None:
    scheduler = scheduler_of(family, 10**6, max_running=3)

    def asker(seed: int) -> list[tuple[Ask, Answer]]:
        random, got = Random(seed), []
        for _ in range(12):
            time.sleep(random.random() / 200)
            ask = some_ask(random)
            got.append((ask, scheduler.result(scheduler.submit(request_for(family, ask)))))
        return got

    for answers in together(*(partial(asker, seed) for seed in range(6))):
        assert all(same(answer, alone(plain, ask)) for ask, answer in answers)
    assert (scheduler.running, scheduler.waiting) == (0, 0)


@pytest.fixture(scope="module")
def folders(e2b: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("checkpoints")
    quantize(Checkpoint(e2b), "int4", parent / "int4")
    return {"e2b": e2b, "e4b": make_checkpoint(parent / "e4b", family="e4b"), "int4": parent / "int4"}


CLIPS = [noise(length, seed=length) for length in (161, 5_000, 16_000, 16_001, 100_000, 700_000)]


def library_ask(random: Random) -> dict[str, Any]:
    """Arguments of `Model.stream`."""
    settings: dict[str, Any] = {"max_tokens": random.choice([1, 3, 10, 40])}
    if random.random() < 0.3:
        settings |= {"temperature": 1.0, "top_k": 20, "seed": random.randrange(100)}
    if random.random() < 0.2:
        settings["stop"] = ("e", "th")
    if random.random() < 0.2:
        settings["regex"] = "[a-d]{2,9}"
    weights = [4, 4, 4, 4, 2, 1]
    clips = [random.choices(CLIPS, weights)[0] for _ in range(random.choice([1, 1, 1, 2, 3]))]
    order = random.choice(["text-first", "audio-first"])
    return {"audio": clips, "question": random.choice(TEXTS), "order": order, **settings}


@pytest.mark.parametrize("name", ["e2b", "e4b", "int4"])
@pytest.mark.parametrize("seed", range(3))
def test_a_model_gives_the_same_tokens_as_alone(folders: dict[str, Path], name: str, seed: int) -> None:
    random, model = Random(seed), load(str(folders[name]))
    asks = [library_ask(random) for _ in range(random.randrange(2, 13))]
    waiting, going, got = list(enumerate(asks)), [], {}
    while waiting or going:
        if waiting and (not going or random.random() < 0.1):
            number, ask = waiting.pop()
            going.append((number, model.stream(**ask)))
        number, chunks = one = random.choice(going)
        chunk = next(chunks)
        if chunk.answer is not None:
            got[number] = chunk.answer
            going.remove(one)
    fresh = load(str(folders[name]), cache_mb=0)
    for number, ask in enumerate(asks):
        assert same(got[number], fresh.ask(**ask)), ask


@pytest.mark.parametrize("name", ["e2b", "int4"])
def test_a_model_gives_the_same_tokens_to_several_threads(folders: dict[str, Path], name: str) -> None:
    model, fresh = load(str(folders[name])), load(str(folders[name]), cache_mb=0)
    random = Random(name)
    asks = [library_ask(random) for _ in range(12)]
    answers = together(*(partial(model.ask, **ask) for ask in asks))
    for ask, answer in zip(asks, answers, strict=True):
        assert same(answer, fresh.ask(**ask)), ask


@pytest.mark.parametrize("order", ["text-first", "audio-first"])
def test_ask_many_gives_what_asking_one_by_one_does(folders: dict[str, Path], order: Any) -> None:
    model, fresh = load(str(folders["e2b"])), load(str(folders["e2b"]), cache_mb=0)
    asks = [(CLIPS[number % 5], f"What is {number % 7}?") for number in range(40)]
    answers = list(model.ask_many(asks, order=order, max_tokens=8))
    assert all(isinstance(answer, Answer) for answer in answers)
    for (clip, question), answer in zip(asks, answers, strict=True):
        assert same(answer, fresh.ask(clip, question, order=order, max_tokens=8))  # type: ignore[arg-type]


# --- between two steps requests come and go


def test_a_short_request_overtakes_a_long_one_that_began_before(family: TellingFamily) -> None:
    family.lasts = None
    scheduler = scheduler_of(family)
    long = submitted(scheduler, "long", max_tokens=100)
    chunks = scheduler.chunks(long)
    next(chunks)
    read = len(long.goal.read_ids)
    answer = scheduler.result(submitted(scheduler, "short", max_tokens=5))
    assert len(answer.tokens) == 5
    assert not long.done
    assert len(long.goal.read_ids) == read + 5  # each step had a token for either
    *_, last = chunks
    assert len(last.answer.tokens) == 100


def test_one_pass_reads_for_all_of_them(family: TellingFamily) -> None:
    family.lasts = None
    scheduler = scheduler_of(family, 0)
    requests = [submitted(scheduler, f"question {number}", max_tokens=20) for number in range(4)]
    for request in requests:
        scheduler.result(request)
    passes = family.told("read")
    assert [len(one) for one in passes[:4]] == [1, 2, 3, 4]
    assert len(passes) == 20 + 3
    assert list(passes[3].values())[:3] == [1, 1, 1]  # a token each of those under way


def test_no_more_than_max_running_are_answered_at_once(family: TellingFamily) -> None:
    scheduler = scheduler_of(family, max_running=3)
    requests = [submitted(scheduler, f"question {number}", max_tokens=20) for number in range(8)]
    assert (scheduler.running, scheduler.waiting) == (0, 8)
    chunks = scheduler.chunks(requests[0])
    next(chunks)
    assert (scheduler.running, scheduler.waiting) == (3, 5)
    for request in requests:
        scheduler.result(request)
    assert max(map(len, family.told("read"))) == 3


def work_between_tokens(family: TellingFamily, cache: int) -> Iterator[list[tuple[str, Any]]]:
    """What was done from one pass that reads for a cache to the next, this one included."""
    done: list[tuple[str, Any]] = []
    for kind, what in family.log:
        done.append((kind, what))
        if kind == "read" and cache in what:
            yield done
            done = []
    yield done


def test_a_running_answer_waits_for_a_bounded_piece_of_newcomers(family: TellingFamily) -> None:
    family.lasts = None
    scheduler = scheduler_of(family)
    first = submitted(scheduler, "long", max_tokens=300)
    running = scheduler.chunks(first)
    next(running)
    family.log.clear()
    sounds = noise(30 * 16_000), noise(1000, seed=1), noise(9 * 16_000, seed=2)
    newcomers = [submitted(scheduler, "x" * 300, *sounds, f"{number}?", max_tokens=3) for number in range(3)]
    for _ in running:
        if all(newcomer.done for newcomer in newcomers):
            break
    *steps, rest = work_between_tokens(family, id(first.cache))
    assert not rest
    for step in steps:
        *before, (_, rows) = step
        assert len(before) <= 1
        assert all(kind == "hear" and samples <= SECONDS_IN_COMPANY * 16_000 for kind, samples in before)
        assert rows[id(first.cache)] == 1
        assert sum(rows.values()) <= ROWS_IN_COMPANY + 3
        assert not before or all(count == 1 for count in rows.values())  # either sound or prompt
    assert sum(family.told("hear")) == sum(len(sound.samples) for sound in sounds)  # and not a sample is lost


def test_a_request_that_is_alone_is_served_in_large_pieces(family: TellingFamily) -> None:
    scheduler = scheduler_of(family)
    scheduler.result(submitted(scheduler, "x" * 1000, noise(480_000), max_tokens=1))
    assert family.told("hear") == []
    assert family.told("encode") == [750]
    rows = [next(iter(one.values())) for one in family.told("read")]
    assert rows[:3] == [ROWS_ALONE] * 3
    assert rows[3] == sum(rows) - 3 * ROWS_ALONE


def test_a_family_without_an_ear_hears_a_clip_at_a_time(family: TellingFamily, plain: TellingFamily) -> None:
    family.hears = False
    scheduler = scheduler_of(family)
    first = submitted(scheduler, TEXTS[2], max_tokens=50)
    scheduler.advance(first)
    ask = asked("What?", noise(100_000), noise(70_000))
    request = scheduler.submit(request_for(family, ask))
    for count in (1, 2):
        scheduler.advance(first)
        assert family.told("encode") == [157, 110][:count]
    assert same(scheduler.result(request), alone(plain, ask))
    assert family.told("hear") == []


# --- who is first


def test_of_those_that_wait_the_one_of_highest_priority_is_next(family: TellingFamily) -> None:
    scheduler = scheduler_of(family, max_running=1)
    priorities = [0, 5, -1, 5, 2, 0]
    requests = [submitted(scheduler, f"{number}", priority=priority) for number, priority in enumerate(priorities)]
    order: list[int] = []
    while len(order) < len(requests):
        scheduler.advance(requests[2])
        order += [number for number, request in enumerate(requests) if request.done and number not in order]
    assert order == [1, 3, 4, 0, 5, 2]


def test_of_the_newcomers_the_one_of_highest_priority_is_read_first(family: TellingFamily) -> None:
    scheduler = scheduler_of(family)
    low = submitted(scheduler, "x" * 3000, max_tokens=1)
    scheduler.advance(low)
    high = submitted(scheduler, "y" * 3000, priority=1, max_tokens=1)
    scheduler.result(high)
    assert not low.done
    assert scheduler.result(low).finish_reason == "length"


# --- a bounded queue


def test_a_full_queue_refuses_one_more_and_harms_nobody(family: TellingFamily, plain: TellingFamily) -> None:
    scheduler = scheduler_of(family, max_running=2, max_queue=3)
    requests = [submitted(scheduler, f"question {number}", max_tokens=5) for number in range(5)]
    chunks = scheduler.chunks(requests[0])
    next(chunks)
    family.log.clear()
    for _ in range(3):
        late = request_for(family, asked("late", noise(640)))
        with pytest.raises(
            BusyError, match=r"^2 requests are being answered and 3 wait, .* \(max_queue 3\): try again"
        ):
            scheduler.submit(late)
    assert family.log == []
    assert (scheduler.running, scheduler.waiting) == (2, 3)
    list(chunks)
    for number in range(5):
        assert same(scheduler.result(requests[number]), alone(plain, asked(f"question {number}", max_tokens=5)))
    assert scheduler.result(submitted(scheduler, "again")).tokens


def test_who_is_done_or_overdue_takes_no_place(family: TellingFamily) -> None:
    scheduler = scheduler_of(family, max_running=1, max_queue=1)
    scheduler.result(submitted(scheduler, "one"))
    overdue, cancelled = submitted(scheduler, "two", timeout_s=60), submitted(scheduler, "three")
    with pytest.raises(BusyError):
        submitted(scheduler, "four")
    overdue.clock.started -= 60
    submitted(scheduler, "four")
    with pytest.raises(BusyError):
        submitted(scheduler, "five")
    scheduler.cancel(cancelled)
    submitted(scheduler, "five")


def test_as_many_threads_as_may_run_are_never_refused(family: TellingFamily) -> None:
    """A request that is done leaves only with its step, which another thread may still be computing."""
    scheduler = scheduler_of(family, max_running=3, max_queue=0)

    def asker(name: int) -> int:
        return sum(len(scheduler.result(submitted(scheduler, f"{name} {n}")).tokens) for n in range(60))

    assert all(together(*(partial(asker, name) for name in range(3))))


def test_a_request_that_was_given_up_within_a_step_takes_no_place(family: TellingFamily) -> None:
    scheduler = scheduler_of(family, max_running=1, max_queue=0)
    request = submitted(scheduler, "one")

    def on_part(_: Part) -> None:
        scheduler.cancel(request)
        family.on_part = lambda part: None
        submitted(scheduler, "two")

    family.on_part = on_part
    with pytest.raises(CancelledError):
        scheduler.result(request)
    assert (scheduler.running, scheduler.waiting) == (0, 1)


@pytest.mark.parametrize("scheduling", [(1, 0), (1, 1), (2, 0), (8, 64)])
def test_many_is_never_refused_because_of_its_own_queue(
    family: TellingFamily, plain: TellingFamily, scheduling: tuple[int, int]
) -> None:
    scheduler = scheduler_of(family, max_running=scheduling[0], max_queue=scheduling[1])
    asks = [some_ask(Random(seed)) for seed in range(30)]
    answers = list(scheduler.many(partial(request_for, family, ask) for ask in asks))
    assert len(answers) == 30
    for ask, answer in zip(asks, answers, strict=True):
        assert isinstance(answer, Answer)
        assert same(answer, alone(plain, ask))
    assert max(map(len, family.told("read"))) <= scheduling[0]


def test_many_waits_while_others_fill_the_queue(family: TellingFamily) -> None:
    scheduler = scheduler_of(family, max_running=1, max_queue=0)
    others = submitted(scheduler, "other", max_tokens=5)
    made: list[int] = []

    def make(number: int) -> Request:
        made.append(number)
        return request_for(family, asked(f"question {number}"))

    answers = list(scheduler.many(partial(make, number) for number in range(3)))
    assert [type(answer) for answer in answers] == [Answer] * 3
    assert made == [0, 1, 2]
    assert others.result is not None


def test_several_manys_at_once(family: TellingFamily) -> None:
    scheduler = scheduler_of(family, max_running=2, max_queue=1)

    def ask_many(name: int) -> list[Any]:
        return list(scheduler.many(partial(request_for, family, asked(f"{name} {n}")) for n in range(20)))

    for answers in together(*(partial(ask_many, name) for name in range(5))):
        assert [type(answer) for answer in answers] == [Answer] * 20


def test_many_makes_requests_only_when_their_turn_is_near(family: TellingFamily) -> None:
    scheduler = scheduler_of(family, max_running=2)
    made: list[int] = []

    def makings() -> Iterator[Callable[[], Request]]:
        for number in range(10**9):
            made.append(number)
            yield partial(request_for, family, asked(f"question {number}"))

    answers = scheduler.many(makings())
    for count in range(1, 6):
        next(answers)
        assert len(made) <= 4 + count
    answers.close()
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_in_many_an_error_stands_in_its_place(family: TellingFamily) -> None:
    """Also one that is no AuricleError, of the making or of the model."""
    scheduler = scheduler_of(family)

    def fail(error: Exception) -> Request:
        raise error

    def on_part(part: Part) -> None:
        if part.audio is not None and len(part.audio) == 7:
            raise RuntimeError("out of memory")

    family.on_part = on_part
    makings = [
        partial(request_for, family, asked("one")),
        partial(fail, SoundError("no sound")),
        partial(request_for, family, asked("two")),
        partial(request_for, family, asked("x" * 5000)),
        partial(request_for, family, asked("one", noise(7 * 640))),
        partial(fail, ValueError("not even an error of ours")),
        partial(request_for, family, asked("three", timeout_s=1e-9)),
        partial(request_for, family, asked("four")),
    ]
    kinds = [type(one) for one in scheduler.many(makings)]
    assert kinds[:4] == [Answer, SoundError, Answer, PromptError]
    assert kinds[4:] == [AuricleError, AuricleError, DeadlineError, Answer]
    (outcome,) = scheduler.many(makings[4:5])
    assert isinstance(outcome, AuricleError)
    assert "out of memory" in str(outcome)
    assert isinstance(outcome.__cause__, RuntimeError)


def test_what_the_source_of_questions_raises_is_the_callers(family: TellingFamily) -> None:
    scheduler = scheduler_of(family)

    def makings() -> Iterator[Callable[[], Request]]:
        yield partial(request_for, family, asked("one"))
        raise LookupError("no more questions")

    with pytest.raises(LookupError):
        list(scheduler.many(makings()))
    assert (scheduler.running, scheduler.waiting) == (0, 0)


# --- time-outs


def test_a_request_can_time_out_in_the_queue(family: TellingFamily, plain: TellingFamily) -> None:
    family.on_part = lambda part: time.sleep(0.001)
    scheduler = scheduler_of(family, max_running=1)
    ask = asked("long", max_tokens=60, temperature=1.0)
    running = scheduler.submit(request_for(family, ask))
    late = submitted(scheduler, "late", timeout_s=0.01)
    with pytest.raises(DeadlineError, match=r"not done within its 0\.01 s: give it more \(timeout_s\)"):
        scheduler.result(late)
    assert late.cache is None
    assert scheduler.waiting == 0
    assert same(scheduler.result(running), alone(plain, ask))


@pytest.mark.parametrize("where", ["hearing", "reading", "answering"])
def test_a_request_can_time_out_at_work(
    family: TellingFamily, plain: TellingFamily, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (family, plain):
        monkeypatch.setattr(one, "lasts", None)
    scheduler = scheduler_of(family)
    ask = asked(TEXTS[3], max_tokens=100)
    running = scheduler.submit(request_for(family, ask))
    scheduler.advance(running)
    late = submitted(scheduler, "x" * 500, noise(480_000), timeout_s=60, max_tokens=1000)
    goal, steps = late.goal, {"hearing": 3, "reading": 12, "answering": 32}[where]
    for _ in range(steps):
        scheduler.advance(running)
    assert late.hearing == (where == "hearing")
    assert bool(goal.read_ids) == late.going == (where == "answering")
    late.clock.started -= 60
    with pytest.raises(DeadlineError, match=r"not done within its 60 s: give it more \(timeout_s\)"):
        scheduler.result(late)
    assert late.cache is None
    assert same(scheduler.result(running), alone(plain, ask))


def test_a_time_out_frees_the_place_without_anyone_looking(family: TellingFamily) -> None:
    """Its own consumer may have gone away."""
    family.lasts = None
    scheduler = scheduler_of(family, max_running=1)
    forgotten = submitted(scheduler, "forgotten", timeout_s=60, max_tokens=10**6)
    scheduler.advance(forgotten)
    assert scheduler.running == 1
    forgotten.clock.started -= 60
    assert scheduler.result(submitted(scheduler, "next", max_tokens=3)).tokens
    assert (scheduler.running, scheduler.waiting) == (0, 0)


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan"), float("inf")])
def test_a_time_out_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(OptionError, match="timeout_s is"):
        asked("What?", timeout_s=timeout_s)


# --- cancelling


def test_cancelling_from_another_thread_ends_the_waiting(family: TellingFamily, plain: TellingFamily) -> None:
    family.lasts = None
    family.on_part = lambda part: time.sleep(0.001)
    scheduler = scheduler_of(family)
    requests = [submitted(scheduler, f"question {number}", max_tokens=2000) for number in range(3)]

    def wait(request: Request) -> str:
        with pytest.raises(CancelledError, match="was cancelled before its answer was done"):
            scheduler.result(request)
        return "cancelled"

    def cancel() -> str:
        for request in requests:
            while not request.going:
                time.sleep(0.001)
            scheduler.cancel(request)
        return "done"

    assert together(*(partial(wait, request) for request in requests), cancel, seconds=20)[:3] == ["cancelled"] * 3
    assert (scheduler.running, scheduler.waiting) == (0, 0)
    assert all(request.cache is None for request in requests)


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_nobody_waits_for_the_end_of_a_step_to_give_up(
    family: TellingFamily, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "OVERDUE_CHECK_S", 0.02)
    scheduler, over = scheduler_of(family), threading.Event()
    long = submitted(scheduler, "long", max_tokens=3)
    late = submitted(scheduler, "late", timeout_s=None if how == "cancelled" else 0.1)
    family.on_part = lambda part: over.wait(30)

    def wait() -> bool:
        while not family.log:  # the other one computes
            time.sleep(0.001)
        with pytest.raises(CancelledError if how == "cancelled" else DeadlineError):
            scheduler.result(late)
        over.set()
        return True

    def cancel() -> bool:
        time.sleep(0.1)
        if how == "cancelled":
            scheduler.cancel(late)
        return True

    assert together(partial(scheduler.result, long), wait, cancel, seconds=20)[1:] == [True, True]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_closing_the_iterator_cancels_at_any_point(
    family: TellingFamily, plain: TellingFamily, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (family, plain):
        monkeypatch.setattr(one, "lasts", None)
    scheduler = scheduler_of(family)
    other = submitted(scheduler, "other", max_tokens=30)
    request = submitted(scheduler, "first", max_tokens=1000)
    chunks = scheduler.chunks(request)
    for _ in range(count):
        next(chunks)
    scheduler.advance(other)
    chunks.close()
    if not count:  # nobody has begun to wait for it, so nobody has given it up
        scheduler.cancel(request)
    assert isinstance(request.error, CancelledError)
    assert same(scheduler.result(other), alone(plain, asked("other", max_tokens=30)))
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_an_iterator_that_is_dropped_cancels(family: TellingFamily) -> None:
    family.lasts = None
    scheduler = scheduler_of(family)
    chunks = scheduler.chunks(submitted(scheduler, "first", max_tokens=1000))
    next(chunks)
    assert scheduler.running == 1
    del chunks
    assert scheduler.running == 0


def test_a_stream_that_nobody_reads_was_never_handed_in(e2b: Path) -> None:
    model = load(str(e2b))
    streams = [model.stream(noise(16_000), "What?") for _ in range(100)]
    scheduler: Scheduler = model.backend.scheduler  # type: ignore[attr-defined]
    assert (scheduler.running, scheduler.waiting) == (0, 0)
    del streams
    assert model.ask(noise(16_000), "What?", max_tokens=2).tokens


def test_an_iterator_may_be_collected_at_any_moment(family: TellingFamily) -> None:
    """Also while its own thread is within the store, or holds the scheduler's lock."""
    family.lasts = None
    scheduler = scheduler_of(family)

    class Key:
        def __hash__(self) -> int:
            gc.collect()
            return 1

    def collected() -> bool:
        chunks = scheduler.chunks(submitted(scheduler, TEXTS[2], max_tokens=1000))
        next(chunks)
        cycle: list[Any] = [chunks]
        cycle.append(cycle)
        del chunks, cycle
        scheduler.prefixes.store.put("audio", Key(), "value", 1)
        return True

    assert together(collected) == [True]
    assert scheduler.running == 0
    assert scheduler.prefixes.store.use().prefixes == 1


def test_cancelling_what_is_done_changes_nothing(family: TellingFamily) -> None:
    scheduler = scheduler_of(family)
    request = submitted(scheduler, "one")
    answer = scheduler.result(request)
    scheduler.cancel(request)
    assert request.error is None
    assert request.result is answer


# --- the last chunk


def test_a_request_is_done_only_when_its_last_chunk_is_there(family: TellingFamily) -> None:
    """Else whoever waits would go away without it."""
    scheduler = scheduler_of(family)
    request = submitted(scheduler, "one", max_tokens=3)

    class Watched(deque[Chunk]):
        def extend(self, chunks: Iterable[Chunk]) -> None:
            assert not request.done
            super().extend(chunks)

    request.chunks = Watched()
    assert [chunk.answer for chunk in scheduler.chunks(request)][-1] is request.result


def test_an_answer_that_comes_just_after_one_has_looked_is_not_lost(family: TellingFamily) -> None:
    scheduler = scheduler_of(family)
    request = submitted(scheduler, "one", max_tokens=3)

    class Late(deque[Chunk]):
        """Empty for whoever looks; then all comes at once, as from another thread."""

        def __len__(self) -> int:
            count = super().__len__()
            while not count and not request.done:
                scheduler.advance(request)
            return count

    request.chunks = Late()
    chunks = list(scheduler.chunks(request))
    assert chunks
    assert chunks[-1].answer is request.result


def test_a_request_ends_in_one_way_only(family: TellingFamily) -> None:
    """Also where its time is up between two of its last lines: no answer, and an error behind it."""
    scheduler = scheduler_of(family)
    request = submitted(scheduler, "one", max_tokens=3)
    timings = request.clock.timings
    request.clock.timings = lambda tokens: (request.fail(DeadlineError("too late")), timings(tokens))[1]  # type: ignore
    got: list[Chunk] = []
    with pytest.raises(DeadlineError):
        got += scheduler.chunks(request)
    assert request.result is None
    assert not any(chunk.answer for chunk in got)


# --- what goes wrong for one


def fails_once(error: BaseException, when: Callable[[Any], bool] = lambda _: True) -> Callable[[Any], None]:
    """A hook that raises the first time that a condition holds."""
    left = [error]

    def hook(what: Any) -> None:
        if left and when(what):
            raise left.pop()

    return hook


def test_an_error_in_a_pass_is_that_of_the_one_at_fault(family: TellingFamily, plain: TellingFamily) -> None:
    scheduler = scheduler_of(family)
    asks = [asked(f"question {number}", noise(5000 + number), max_tokens=30) for number in range(4)]
    requests = [scheduler.submit(request_for(family, ask)) for ask in asks]

    def on_part(part: Part) -> None:
        if part.cache is requests[2].cache and part.cache.length > 40:
            raise ValueError("it is at fault")

    family.on_part = on_part
    for number, (ask, request) in enumerate(zip(asks, requests, strict=True)):
        if number == 2:
            with pytest.raises(ValueError, match="it is at fault"):
                scheduler.result(request)
        else:
            assert same(scheduler.result(request), alone(plain, ask))
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_an_error_of_what_a_request_reads_next_is_its_own(family: TellingFamily, plain: TellingFamily) -> None:
    """As where there is no memory for the copies that scores read."""
    scheduler = scheduler_of(family)
    ask = asked("fine", max_tokens=30)
    fine, bad = scheduler.submit(request_for(family, ask)), submitted(scheduler, "bad", max_tokens=30)

    def no_memory(request: Request) -> list[Part]:
        raise MemoryError("for a copy")

    bad.goal.parts = no_memory  # type: ignore[method-assign]
    assert same(scheduler.result(fine), alone(plain, ask))
    with pytest.raises(MemoryError):
        scheduler.result(bad)


@pytest.mark.parametrize("where", ["features", "encode", "ear", "hear", "new_cache", "begin", "take"])
def test_an_error_on_the_way_is_that_of_its_request(
    family: TellingFamily, plain: TellingFamily, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = asked(TEXTS[2], max_tokens=100)
    scheduler = scheduler_of(family)
    other = scheduler.submit(request_for(family, ask))
    scheduler.advance(other)  # it is under way
    bad = submitted(scheduler, "bad", noise(100_000))
    family.hears = where not in ("features", "encode")
    if where == "hear":
        family.on_hear = lambda samples: {}["nothing"]
    else:
        broken: Any = bad.goal if where in ("begin", "take") else family
        monkeypatch.setattr(broken, where, lambda *given, **named: {}["nothing"])
    with pytest.raises(KeyError, match="nothing"):
        scheduler.result(bad)
    assert same(scheduler.result(other), alone(plain, ask))
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_an_ear_that_breaks_its_promise_is_our_failure(family: TellingFamily, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = scheduler_of(family)
    scheduler.advance(submitted(scheduler, TEXTS[2], max_tokens=100))
    features = family.features
    monkeypatch.setattr(family, "features", lambda samples: features(samples)[:-1])
    with pytest.raises(AuricleError, match="the encoder gave 155 tokens where 157 were promised"):
        scheduler.result(submitted(scheduler, "bad", noise(100_000)))


def test_what_breaks_every_pass_breaks_every_request_and_nothing_hangs(family: TellingFamily) -> None:
    family.lasts = None
    scheduler = scheduler_of(family)
    requests = [submitted(scheduler, f"question {number}", max_tokens=30) for number in range(3)]
    while not all(request.going for request in requests):
        scheduler.advance(requests[0])
    family.on_part = lambda part: {}["the device is gone"]
    for request in requests:
        with pytest.raises(KeyError, match="the device is gone"):
            scheduler.result(request)
    family.on_part = lambda part: None
    assert scheduler.result(submitted(scheduler, "next", max_tokens=5)).tokens


def given_up(request: Request) -> Request:
    return request


def test_who_keeps_an_error_keeps_nothing_large(family: TellingFamily) -> None:
    """Its traceback holds the request, but not what that has heard and read."""
    scheduler = scheduler_of(family, 0)
    family.lasts = None
    running = submitted(scheduler, TEXTS[1], max_tokens=10**6)
    scheduler.advance(running)
    requests = [submitted(scheduler, "x" * 99, noise(100_000, seed), max_tokens=10**6) for seed in range(3)]
    held = [weakref.ref(sound.audio.samples) for request in requests for sound in request.sounds]
    gc.disable()
    try:
        for steps, request in zip((1, 3, 9), requests, strict=True):  # hearing, reading, answering
            for _ in range(steps):
                scheduler.advance(request)
            large = request.cache, *request._audio, *(request._ear or ())[:1]
            held += map(weakref.ref, large)
            del large
            scheduler.cancel(request)
        errors = list(scheduler.many(partial(given_up, request) for request in requests))
        del requests, request
        assert [type(error) for error in errors] == [CancelledError] * 3
        assert len(held) == 3 + 2 + 2 + 1
        assert not any(one() is not None for one in held)
    finally:
        gc.enable()


def interrupted(scheduler: Scheduler, request: Request) -> None:
    """Computes until Ctrl-C."""
    try:
        for _ in range(1000):
            scheduler.advance(request)
    except KeyboardInterrupt:
        return
    pytest.fail("it was never interrupted")


@pytest.mark.parametrize("after", [0, 1, 2])
def test_ctrl_c_within_a_pass_leaves_the_others_as_they_were(
    family: TellingFamily, plain: TellingFamily, after: int
) -> None:
    scheduler = scheduler_of(family)
    asks = [asked(f"question {number}", noise(3000 * number + 200), max_tokens=30) for number in range(3)]
    requests = [scheduler.submit(request_for(family, ask)) for ask in asks]
    while not all(request.going or request.done for request in requests):
        scheduler.advance(requests[0])
    parts = iter(range(100))
    family.on_part = fails_once(KeyboardInterrupt(), lambda part: next(parts) == after)
    interrupted(scheduler, requests[0])
    for ask, request in zip(asks, requests, strict=True):
        assert same(scheduler.result(request), alone(plain, ask))


@pytest.mark.parametrize("piece", [0, 1, 2])
def test_ctrl_c_within_the_ear_lets_the_clip_be_heard_all_the_same(
    family: TellingFamily, plain: TellingFamily, piece: int
) -> None:
    """Its caller may be another than the one who was interrupted."""
    scheduler = scheduler_of(family)
    running = submitted(scheduler, "Say all that there is to say. " * 40, max_tokens=200)
    scheduler.advance(running)
    ask = asked("What?", noise(30_000, seed=1), noise(200_000), max_tokens=5)
    heard = scheduler.submit(request_for(family, ask))
    pieces = iter(range(100))
    family.on_hear = fails_once(KeyboardInterrupt(), lambda samples: next(pieces) == piece)
    family.lasts = None
    interrupted(scheduler, running)
    family.lasts = 20
    assert same(scheduler.result(heard), alone(plain, ask))


def test_ctrl_c_within_the_encoder(
    family: TellingFamily, plain: TellingFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = scheduler_of(family)
    ask = asked("What?", noise(30_000), noise(20_000, seed=1), max_tokens=5)
    request, encode, hook = scheduler.submit(request_for(family, ask)), family.encode, fails_once(KeyboardInterrupt())
    monkeypatch.setattr(family, "encode", lambda features: (hook(0), encode(features))[1])
    interrupted(scheduler, request)
    assert same(scheduler.result(request), alone(plain, ask))


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_ctrl_c_while_tokens_are_chosen_makes_nobody_read_one_twice(
    family: TellingFamily, plain: TellingFamily, victim: int
) -> None:
    """The one in whose choice it came can't go on; it says so, and gives no other answer than alone."""
    scheduler = scheduler_of(family)
    asks = [asked(f"question {number}", max_tokens=30) for number in range(3)]
    requests = [scheduler.submit(request_for(family, ask)) for ask in asks]
    while not all(request.going for request in requests):
        scheduler.advance(requests[0])
    sampler = requests[victim].goal._sampler  # type: ignore[attr-defined]
    pick, hook = sampler.pick, fails_once(KeyboardInterrupt())
    sampler.pick = lambda logits: (hook(0), pick(logits))[1]
    interrupted(scheduler, requests[0])
    for number, (ask, request) in enumerate(zip(asks, requests, strict=True)):
        if number == victim:
            with pytest.raises(CancelledError):
                scheduler.result(request)
        else:
            assert same(scheduler.result(request), alone(plain, ask))


def test_ctrl_c_while_a_turn_begins(family: TellingFamily, plain: TellingFamily) -> None:
    """A request with a cache is one that has looked which of its clips are in it."""
    scheduler = scheduler_of(family)
    ask = asked("What?", noise(30_000), max_tokens=5)
    request = scheduler.submit(request_for(family, ask))
    hook = fails_once(KeyboardInterrupt())

    class Interrupting(tuple[Any, ...]):
        def __iter__(self) -> Iterator[Any]:
            hook(0)
            return super().__iter__()

    request.sounds = Interrupting(request.sounds)
    interrupted(scheduler, request)
    assert same(scheduler.result(request), alone(plain, ask))


@pytest.mark.parametrize("name", ["e2b", "e4b", "int4"])
def test_ctrl_c_within_a_model(folders: dict[str, Path], name: str) -> None:
    """In a thread that computes for another as well."""
    model, fresh = load(str(folders[name])), load(str(folders[name]), cache_mb=0)
    family = model.backend.family  # type: ignore[attr-defined]
    other = model.stream(CLIPS[1], "Who?", max_tokens=30)
    next(other)
    hook = fails_once(KeyboardInterrupt(), lambda rows: rows > 2)
    if name == "int4":  # after a pass, before its positions are counted
        recording = family._program._recording
        run = recording.program.run
        recording.program = SimpleNamespace(run=lambda ids, *given: (run(ids, *given), hook(len(ids))))
    else:  # some layers have taken up its keys and values, and others not
        family.model.language_model.layers[2].register_forward_pre_hook(lambda _, given: hook(given[0].shape[1]))
    with pytest.raises(KeyboardInterrupt):
        model.ask(CLIPS[2], "What?", max_tokens=5)
    *_, last = other
    assert same(last.answer, fresh.ask(CLIPS[1], "Who?", max_tokens=30))  # type: ignore[arg-type]
    assert same(model.ask(CLIPS[2], "What?", max_tokens=5), fresh.ask(CLIPS[2], "What?", max_tokens=5))


# --- what is refused


def test_bad_requests_are_refused_one_by_one_and_nothing_is_lost_for_the_others(folders: dict[str, Path]) -> None:
    model, fresh = load(str(folders["e2b"])), load(str(folders["e2b"]), cache_mb=0)
    running = model.stream(CLIPS[2], "What?", max_tokens=30)
    next(running)
    with pytest.raises(OptionError, match="regex can't be held to"):
        next(model.stream(CLIPS[2], "What?", regex="(unclosed"))
    with pytest.raises(OptionError, match="matches no text"):
        next(model.stream(CLIPS[2], "What?", regex="[^\\s\\S]"))
    with pytest.raises(PromptError, match=r"the prompt has \d+ tokens and the model's context holds 4096"):
        next(model.stream(CLIPS[2], "What? " * 2000))
    with pytest.raises(SoundError, match="161"):
        next(model.stream(noise(160), "What?"))
    *_, last = running
    assert same(last.answer, fresh.ask(CLIPS[2], "What?", max_tokens=30))  # type: ignore[arg-type]
    scheduler: Scheduler = model.backend.scheduler  # type: ignore[attr-defined]
    assert (scheduler.running, scheduler.waiting) == (0, 0)


# --- traces


@pytest.mark.parametrize("name", ["e2b", "int4"])
def test_a_trace_beside_other_requests_is_the_trace_of_its_own(folders: dict[str, Path], name: str) -> None:
    model, fresh = load(str(folders[name])), load(str(folders[name]), cache_mb=0)
    expected = fresh.ask([CLIPS[4], CLIPS[1]], "What?", trace=True, max_tokens=10)
    model.ask([CLIPS[4], CLIPS[1]], "What?", max_tokens=10)  # so that all of it is in the caches
    others = [model.stream(CLIPS[number], "Who is it?", max_tokens=100) for number in range(3)]
    for other in others:
        next(other)
    traced = model.ask([CLIPS[4], CLIPS[1]], "What?", trace=True, max_tokens=10)
    assert same(traced, expected)
    assert traced.trace == expected.trace
    for number, chunks in enumerate(others):
        *_, last = chunks
        assert same(last.answer, fresh.ask(CLIPS[number], "Who is it?", max_tokens=100))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["e2b", "int4"])
def test_what_was_read_for_a_trace_serves_nobody_else(folders: dict[str, Path], name: str) -> None:
    """A packed model reads it layer by layer, with caches of another kind and other rounding."""
    model = load(str(folders[name]))
    traced = model.stream(CLIPS[2], "What is it?", order="audio-first", max_tokens=30, trace=True)
    next(traced)
    beside = model.ask(CLIPS[2], "What is it that one hears?", order="audio-first", max_tokens=5)
    list(traced)
    after = model.ask(CLIPS[2], "What is it, say?", order="audio-first", max_tokens=5)
    assert (beside.reused_tokens, after.reused_clips) == (0, 1)
    fresh = load(str(folders[name]), cache_mb=0)
    assert same(beside, fresh.ask(CLIPS[2], "What is it that one hears?", order="audio-first", max_tokens=5))
    assert same(after, fresh.ask(CLIPS[2], "What is it, say?", order="audio-first", max_tokens=5))


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=str)
def test_a_trace_that_fails_halfway_fails_alone(folders: dict[str, Path], error: BaseException) -> None:
    """Its prompt is read at once: more than sliding layers can take back."""
    model, fresh = load(str(folders["e2b"])), load(str(folders["e2b"]), cache_mb=0)
    other = model.stream(CLIPS[1], "Who?", max_tokens=30)
    next(other)
    scheduler: Scheduler = model.backend.scheduler  # type: ignore[attr-defined]
    traced = scheduler.submit(request_for(scheduler.family, asked("What? " * 500, trace=True)))
    hook = fails_once(error, lambda rows: rows > 1000)
    layer: Any = scheduler.family.model.language_model.layers[3]  # type: ignore[union-attr]
    layer.register_forward_pre_hook(lambda _, given: hook(given[0].shape[1]))
    if isinstance(error, KeyboardInterrupt):
        interrupted(scheduler, traced)
    with pytest.raises((RuntimeError, CancelledError), match=r"broken|interrupted in the middle of a step"):
        scheduler.result(traced)
    *_, last = other
    assert same(last.answer, fresh.ask(CLIPS[1], "Who?", max_tokens=30))  # type: ignore[arg-type]


# --- work that is no request's


def test_no_step_is_computed_while_somebody_has_the_model_for_himself(family: TellingFamily) -> None:
    family.lasts = None
    scheduler = scheduler_of(family)
    inside = threading.Event()

    def read(part: Part) -> None:
        assert not inside.is_set()
        time.sleep(0.0005)

    family.on_part = read

    def reserve() -> bool:
        for _ in range(20):
            with scheduler.alone():
                assert torch.is_inference_mode_enabled()
                inside.set()
                time.sleep(0.002)
                inside.clear()
        return True

    def answer(number: int) -> int:
        return len(scheduler.result(submitted(scheduler, f"{number}", max_tokens=60)).tokens)

    assert together(reserve, *(partial(answer, number) for number in range(3)), reserve) == [True, 60, 60, 60, True]


def test_who_wants_the_model_for_himself_is_next(family: TellingFamily) -> None:
    """However many others wait for steps."""
    family.lasts = None
    family.on_part = lambda part: time.sleep(0.0002)
    scheduler = scheduler_of(family)
    over = threading.Event()

    def reserve() -> int:
        most = 0
        for _ in range(30):
            time.sleep(0.003)
            before = len(family.log)
            with scheduler.alone():
                most = max(most, len(family.log) - before)
        over.set()
        return most

    def answer(number: int) -> int:
        chunks = scheduler.chunks(submitted(scheduler, f"{number}", max_tokens=10**6))
        while not over.is_set():
            next(chunks)
        return 0

    most, *_ = together(reserve, *(partial(answer, number) for number in range(4)))
    assert most <= 3


def test_an_error_in_work_of_ones_own_gives_the_model_back(family: TellingFamily) -> None:
    scheduler = scheduler_of(family)
    with pytest.raises(KeyError), scheduler.alone():
        raise KeyError
    assert scheduler.result(submitted(scheduler, "next")).tokens


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
