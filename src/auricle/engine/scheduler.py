"""Many requests on one model: nothing is computed twice, and nobody waits for somebody else's whole answer.

A step does a bounded amount of work: a slice of a newcomer's sound, or a stretch of its prompt, or several short ones,
and one token of every answer that is under way. All that is read goes through the model in a single pass, so that its
weights are fetched once for all of them. Between two steps requests come and go.

There is no thread behind it. Whoever waits for something computes the next step, for everybody; the others wait until
it is done. So a single caller has nothing running behind its back, and Ctrl-C ends it at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from itertools import count
from typing import Any

import torch

from auricle.engine.prefixes import WORTH, Prefixes, Read
from auricle.engine.request import Request, interrupted
from auricle.engine.store import Store
from auricle.engine.threads import threads_for
from auricle.errors import AuricleError, BusyError, CancelledError
from auricle.models.family import Family, Part
from auricle.types import Chunk, Scheduling

ROWS_ALONE = 512  # positions of a prompt that are read in a step when no answer is under way
ROWS_IN_COMPANY = 64  # when one is: it waits for them, on a CPU about a millisecond each with E2B in int4
# Both are multiples of what the native kernels attend from at once: where a prompt is cut then changes no bit.
SECONDS_IN_COMPANY = 4.0  # of sound that are heard in a step while an answer is under way; otherwise a clip
OVER_CHECK_S = 0.5  # how often a waiting caller looks at its own clock

Making = Callable[[], Request]


class Scheduler:
    """See this file's head. Usable from several threads."""

    def __init__(
        self, family: Family, store: Store, scheduling: Scheduling | None = None, *, all_threads: bool = False
    ) -> None:
        """
        Args:
            all_threads: use all of torch's, since somebody chose their number; else as many as are worth it.
        """
        self.all_threads = all_threads
        self.family, self.scheduling = family, scheduling or Scheduling()
        self.prefixes = Prefixes(store)
        self._parameters = cache(family.parameters)  # counted once the first is asked
        self._changed = threading.Condition()  # guards what follows
        self._queue: list[tuple[int, int, Request]] = []  # in the order in which they will be admitted
        self._active: list[tuple[int, int, Request]] = []  # likewise
        self._numbers = count()
        self._computing = False
        self._reserving = 0  # callers of `alone` that wait

    # --- what callers do

    def submit(self, request: Request) -> Request:
        """Hands in a request.

        Raises:
            BusyError: the queue is full.
        """
        with self._changed:
            self._retire()
            if len(self._queue) >= self.scheduling.max_running - self.running + self.scheduling.max_queue:
                raise BusyError(
                    f"{self.running} requests are being answered and {len(self._queue)} wait, which is as many as "
                    f"may (max_queue {self.scheduling.max_queue}): try again later, or raise max_queue"
                )
            self._queue.append((-request.terms.priority, next(self._numbers), request))
            self._queue.sort(key=lambda waiting: waiting[:2])
        return request

    def submit_when_free(self, request: Request) -> Request:
        """Hands in a request, after waiting for room in the queue: for what can't be said again."""
        while True:
            try:
                return self.submit(request)
            except BusyError:
                self.advance(request)  # so that the others get done

    def cancel(self, request: Request) -> None:
        """Gives a request up, if it is not done. Whoever waits for it gets a CancelledError."""
        request.fail(CancelledError("the request was cancelled before its answer was done"))
        with self._changed:
            self._retire()
            self._changed.notify_all()

    def chunks(self, request: Request) -> Iterator[Chunk]:
        """What a request gives, as it comes. Closing the iterator cancels the request.

        Raises:
            AuricleError: the request failed, ran out of time, or was cancelled.
        """
        try:
            while True:
                done = request.done  # asked first: what comes later may have chunks
                while request.chunks:
                    yield request.chunks.popleft()
                if done:
                    break
                self.advance(request)
        finally:
            self.cancel(request)
        if request.error is not None:
            raise request.error

    def result(self, request: Request) -> Any:
        """A request's result, when it is there; errors as for `chunks`."""
        for _ in self.chunks(request):
            pass
        return request.result

    def many(self, makings: Iterable[Making]) -> Iterator[Any]:
        """Makes and answers requests, several at a time, and gives the result of each in order, or its error.

        They are made when their turn is near, so that there may be any number of them, and wait while the queue is
        full. An error, also of the making, stands in its request's place and keeps none of the others from being
        answered.
        """
        waiting: deque[Request | AuricleError] = deque()
        try:
            for making in makings:
                while len(waiting) >= 2 * self.scheduling.max_running:
                    yield self._outcome(waiting.popleft())
                made = _made(making)
                while not self._handed_in(made):
                    if waiting:
                        yield self._outcome(waiting.popleft())
                    elif isinstance(made, Request):
                        self.advance(made)
                waiting.append(made)
            while waiting:
                yield self._outcome(waiting.popleft())
        finally:
            for one in waiting:
                if isinstance(one, Request):
                    self.cancel(one)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts no step is computed: for work on the model that is no request's, in inference mode."""
        with self._changed:
            self._reserving += 1
            try:
                while self._computing:
                    self._changed.wait()
                self._computing = True
            finally:
                self._reserving -= 1
        try:
            with torch.inference_mode():
                yield
        finally:
            self._end_computing()

    def threads(self) -> AbstractContextManager[None]:
        """While this lasts torch uses as many threads as are worth it for this model, or as were asked for."""
        if self.all_threads:
            return nullcontext()
        return threads_for(self.family.device, self._parameters())

    def at_work(self) -> list[Read]:
        """What requests that are not done have read. For whoever is computing."""
        with self._changed:
            reads = [request.read() for _, _, request in self._active]
        return [read for read in reads if read is not None]

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return sum(not request.done for _, _, request in self._active)

    @property
    def waiting(self) -> int:
        """How many wait for that."""
        return len(self._queue)

    # --- whose turn it is to compute

    def advance(self, request: Request) -> None:
        """Computes a step, or waits while somebody else does."""
        request.fail_if_over()
        with self._changed:
            if self._computing or self._reserving:
                self._changed.wait(OVER_CHECK_S)
                return
            self._computing = True
        try:
            with self.threads():
                self._step()
        finally:
            self._end_computing()

    def _end_computing(self) -> None:
        with self._changed:
            self._computing = False
            self._retire()
            self._changed.notify_all()

    def _outcome(self, one: Request | AuricleError) -> Any:
        if isinstance(one, AuricleError):
            return one
        try:
            return self.result(one)
        except Exception as error:
            return _told(error)

    def _handed_in(self, one: Request | AuricleError) -> bool:
        """Hands in what is not done already; whether there was room for it."""
        try:
            if isinstance(one, Request) and not one.done:
                self.submit(one)
        except BusyError:
            return False
        return True

    # --- a step

    @torch.inference_mode()
    def _step(self) -> None:
        with self._changed:
            self._let_go()
            self._admit()
            active = [request for _, _, request in self._active]
        batch = [request for request in active if request.going]
        rows = ROWS_IN_COMPANY if batch else ROWS_ALONE
        batch += self._newcomers(active, rows, company=bool(batch))
        self._read([request for request in batch if request.terms.trace is None], rows)
        for request in batch:
            if request.terms.trace is not None:  # which must see its own request alone
                self._read([request], rows)

    def _newcomers(self, active: list[Request], rows: int, *, company: bool) -> list[Request]:
        """Those whose prompts are read in this step: the first, and short ones behind it that fit in whole.

        It ends with one that has something to hear, which the step does if that is the first; and with one that begins
        like another, since it can take that over in the next.
        """
        chosen: list[Request] = []
        for request in (one for one in active if not one.going):
            if any(request.alike(other) >= WORTH for other in chosen):
                break
            self._begins(request)
            if request.hearing:
                if not chosen:
                    self._hears(request, SECONDS_IN_COMPANY if company else None)
                break
            if request.done:
                continue
            if chosen and request.unread > rows:
                break
            chosen.append(request)
            rows -= request.unread
        return chosen

    def _begins(self, request: Request) -> None:
        """A newcomer takes over what is known; what it can't is its own error."""
        try:
            if request.cache is None:
                request.begin(self.prefixes, self.at_work())
            request.recall(self.prefixes)
        except Exception as error:  # whatever it is, it concerns this request alone
            request.fail(error)

    def _hears(self, request: Request, seconds: float | None) -> None:
        try:
            request.hear(self.prefixes, seconds)
        except Exception as error:  # likewise
            request.fail(error)

    def _read(self, batch: list[Request], rows: int) -> None:
        """One pass for all of them, of newcomers' prompts so many rows: see `_newcomers`.

        If it fails, each is tried by itself, so that only the one at fault fails. After Ctrl-C, which may be meant for
        another, all are where they were.
        """
        shares = [(request, parts) for request in batch if (parts := _parts(request, rows))]
        if not shares:
            return
        before = [(request, request.going, request.cache.length) for request, _ in shares]
        begun = time.perf_counter()
        try:
            with shares[0][0].watching():
                logits = self.family.read([part for _, parts in shares for part in parts])
        except BaseException as error:
            if len(shares) == 1 and isinstance(error, Exception):
                shares[0][0].fail(error)
            for request, _, length in before:
                request.take_back(length)
            if not isinstance(error, Exception):
                raise
            for request, _ in shares if len(shares) > 1 else ():
                self._read([request], rows)
            return
        seconds = time.perf_counter() - begun
        for place, (request, parts) in enumerate(shares):
            given, logits = logits[: len(parts)], logits[len(parts) :]
            try:
                request.take(given, seconds, prompt=not before[place][1])
            except Exception as error:
                request.fail(error)
            except BaseException:
                request.fail(interrupted())
                for other, _, length in before[place + 1 :]:
                    other.take_back(length)
                raise

    def _admit(self) -> None:
        while self._queue and len(self._active) < self.scheduling.max_running:
            self._active.append(self._queue.pop(0))
        self._active.sort(key=lambda running: running[:2])

    def _retire(self) -> None:
        """Lets go of requests that are done. Those that somebody is computing go when the step is over."""
        for _, _, request in (*self._queue, *self._active):
            request.fail_if_over()
        self._queue = [waiting for waiting in self._queue if not waiting[2].done]
        if not self._computing:
            self._let_go()

    def _let_go(self) -> None:
        over = [request for _, _, request in self._active if request.done]
        self._active = [running for running in self._active if not running[2].done]
        for request in over:
            read = request.read()
            if read is not None:
                self.prefixes.keep(read)
            request.let_go()


def _made(making: Making) -> Request | AuricleError:
    try:
        return making()
    except Exception as error:
        return _told(error)


def _parts(request: Request, rows: int) -> list[Part]:
    """What it reads next; nothing where that fails."""
    try:
        return request.parts(rows)
    except Exception as error:
        request.fail(error)
        return []


def _told(error: Exception) -> AuricleError:
    """An error as one that stands in a request's place."""
    if isinstance(error, AuricleError):
        return error
    first = f"{type(error).__name__}: {error}".splitlines()[0]
    told = AuricleError(f"the request failed in a way that should not be ({first}): ask it alone to see where")
    told.__cause__ = error
    return told
