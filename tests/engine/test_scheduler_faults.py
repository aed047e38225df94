"""Requests that end early or go wrong: nothing is lost for the others."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from auricle.api import load
from auricle.engine import scheduler as scheduler_module
from auricle.engine.request import Request
from auricle.engine.scheduler import Scheduler
from auricle.errors import AuricleError, CancelledError, DeadlineError, OptionError, PromptError, SoundError
from auricle.models.family import Part
from auricle.types import Chunk
from tests.engine.scheduling import (
    CLIPS,
    TEXTS,
    alone,
    fails_once,
    given_up,
    interrupted,
    same,
    scheduler_of,
    submitted,
)
from tests.engine.scripted import TellingFamily, asked, noise, request_for, together

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
    monkeypatch.setattr(scheduler_module, "OVER_CHECK_S", 0.02)
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
