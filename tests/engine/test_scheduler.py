"""Many requests on one model: the answers are those that each would get alone, whatever happens to the others.

Most of it on a family whose answers tell whether anything was lost or mixed up (`TellingFamily`); what is said of
numbers, on tiny random checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from auricle.api import load
from auricle.engine.prefixes import WORTH
from auricle.engine.request import Request
from auricle.engine.scheduler import ROWS_ALONE, ROWS_IN_COMPANY, SECONDS_IN_COMPANY
from auricle.errors import AuricleError, BusyError, CancelledError, DeadlineError, PromptError, SoundError
from auricle.models.family import Part
from auricle.types import Answer, Ask
from tests.engine.scheduling import (
    CLIPS,
    TEXTS,
    alone,
    same,
    scheduler_of,
    some_ask,
    submitted,
)
from tests.engine.scripted import TellingFamily, asked, noise, request_for, together

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
    assert [len(one) for one in passes] == [4] * 20  # short prompts are read together, and then a token each
    assert min(passes[0].values()) > 1
    assert set(passes[1].values()) == {1}


def test_prompts_that_begin_alike_are_read_one_after_the_other(family: TellingFamily) -> None:
    """So that the second takes over what the first has read."""
    scheduler = scheduler_of(family)
    requests = [submitted(scheduler, f"{'alike ' * 20}{number}", max_tokens=2) for number in range(2)]
    first, second = [scheduler.result(request) for request in requests]
    assert len(family.told("read")[0]) == 1
    assert (first.reused_tokens, second.reused_tokens > WORTH) == (0, True)


def test_no_more_prompts_are_read_at_once_than_a_step_may(family: TellingFamily) -> None:
    scheduler = scheduler_of(family, 0)
    requests = [submitted(scheduler, f"{number} {'x' * 250}", max_tokens=1) for number in range(4)]
    for request in requests:
        scheduler.result(request)
    assert max(sum(one.values()) for one in family.told("read")) <= ROWS_ALONE
    assert max(map(len, family.told("read"))) > 1


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
