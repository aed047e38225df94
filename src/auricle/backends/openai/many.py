"""Several requests at once, each in a thread that waits for the server, answered in the order asked."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from auricle.backends.openai.line import Line
from auricle.errors import AuricleError
from auricle.types import Answer, Ask, Chunk


def in_order(
    askings: Iterable[Callable[[], Ask]], stream: Callable[[Ask, Line], Iterator[Chunk]], at_once: int
) -> Iterator[Answer | AuricleError]:
    """Each request's answer, or the error that it met, in its place.

    Of what was asked, twice as many as run at once are taken at most: a slow one leaves the others work to go on with,
    and memory holds no more. Closing the iterator gives up what runs.
    """
    rest = iter(askings)
    taken: deque[Future[Answer | AuricleError]] = deque()
    running = _Running(stream)
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="auricle-openai")
    try:
        while True:
            while len(taken) < 2 * at_once and (asking := next(rest, None)) is not None:
                taken.append(pool.submit(running.answer, asking))
            if not taken:
                return
            yield taken.popleft().result()
    finally:
        for future in taken:
            future.cancel()
        running.give_up()
        pool.shutdown()


class _Running:
    """The requests under way, so that they can be given up."""

    def __init__(self, stream: Callable[[Ask, Line], Iterator[Chunk]]) -> None:
        self._stream = stream
        self._lines: set[Line] = set()
        self._lock = threading.Lock()
        self._given_up = False

    def answer(self, asking: Callable[[], Ask]) -> Answer | AuricleError:
        line = Line()
        with self._lock:
            self._lines.add(line)
            if self._given_up:
                line.give_up()
        try:
            answer = None
            for chunk in self._stream(asking(), line):
                answer = chunk.answer
            assert answer is not None, "a stream ends with its answer"
        except AuricleError as error:
            return error
        finally:
            with self._lock:
                self._lines.discard(line)
        return answer

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            lines = list(self._lines)
        for line in lines:
            line.give_up()
