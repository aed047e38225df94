"""The model behind the routes: loaded in the background, asked in threads, its answers handed to the event loop.

A request has a thread while it is answered or waits for that: whoever waits computes the next step for everybody
(`engine/scheduler.py`). There are as many threads as requests may run or wait; one more request is refused.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from auricle import api
from auricle.errors import AuricleError, BusyError, CancelledError
from auricle.server.failures import ApiError
from auricle.server.metrics import Metrics
from auricle.server.settings import Settings
from auricle.types import Remote, Scheduling

T = TypeVar("T")
DECODERS = 2  # sounds that are decoded at once
LIVE = 3  # things that a realtime session may compute at once: what it hears, a transcript, an answer


@dataclass
class _Ended:
    """The last thing that a thread hands over."""

    error: BaseException | None = None


class Service:
    """One per process."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.failure: str | None = None  # why the model could not be loaded
        self._model: api.Model | None = None
        self._places = settings.max_running + settings.max_queue
        self._taken = 0
        self._answering = ThreadPoolExecutor(self._places, "answer")
        self._decoding = ThreadPoolExecutor(DECODERS, "decode")
        self.sessions = 0  # of /v1/realtime that are open
        self.stopping = asyncio.Event()  # set when the process is asked to end: sessions finish what they answer
        self._listening = 0  # things that sessions compute
        self._live = ThreadPoolExecutor(max(1, LIVE * settings.max_sessions), "live")

    # --- loading

    def load(self) -> None:
        """Loads the model; what goes wrong is kept for whoever asks, and raised."""
        settings = self.settings
        try:
            self._model = api.load(
                settings.model,
                device=settings.device,
                dtype=settings.dtype,
                threads=settings.threads,
                cache_mb=settings.cache_mb,
                # Whoever is let in has a place: the queue is bounded here, with the requests of other backends.
                scheduling=Scheduling(
                    max_running=settings.max_running, max_queue=self._places + LIVE * settings.max_sessions
                ),
                remote=Remote(settings.base_url) if settings.base_url is not None else None,
            )
        except AuricleError as error:
            self.failure = str(error)
            raise
        self.metrics.watch(self)

    @property
    def ready(self) -> bool:
        return self._model is not None

    @property
    def model(self) -> api.Model:
        """The loaded model; while there is none, 503."""
        if self._model is None:
            raise ApiError(503, self.failure or f"{self.settings.model} is being loaded: try again in a moment")
        return self._model

    def check_name(self, name: str) -> api.Model:
        """The model, if that is the one that a request names."""
        if name != self.settings.model:
            raise ApiError(
                404,
                f"there is no model {name!r} here; this server has {self.settings.model!r}",
                param="model",
                code="model_not_found",
            )
        return self.model

    # --- what runs in threads

    @property
    def answering(self) -> int:
        """Requests that are answered, or wait for that."""
        return self._taken

    @property
    def running(self) -> int:
        return min(self._taken, self.settings.max_running)

    @property
    def computing(self) -> int:
        """Threads at work, of requests and of realtime sessions."""
        return self._taken + self._listening

    def check_room(self, places: int = 1) -> None:
        """Refuses what would find no room, before its sound is decoded."""
        if self._taken + places > self._places:
            raise BusyError(f"{self._taken} requests are answered or wait, which is as many as may")

    async def decode(self, work: Callable[[], T]) -> T:
        """Runs what turns bytes into sound."""
        return await asyncio.get_running_loop().run_in_executor(self._decoding, work)

    async def live(self, work: Callable[[], T]) -> T:
        """Runs what a realtime session hears. It has a thread for itself: what was said can't be said again later."""
        return await self._in_live(work)

    async def stream(
        self, begin: Callable[[], Iterator[T]], cancel: threading.Event, *, live: bool = False
    ) -> AsyncIterator[T]:
        """What an iterator gives that runs in a thread; leaving ends it. `live`: in a thread of a realtime session.

        Raises:
            BusyError: there is no room.
        """
        if not live:
            self.check_room()
        loop, queue = asyncio.get_running_loop(), cast("asyncio.Queue[T | _Ended]", asyncio.Queue())

        def give(item: T | _Ended) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        def work() -> None:
            try:
                for item in begin():
                    give(item)
                    if cancel.is_set():
                        break
            except BaseException as error:  # handed to whoever waits for it
                give(_Ended(error))
            else:
                give(_Ended())

        if live:
            self._in_live(work)
        else:
            self._taken += 1
            loop.run_in_executor(self._answering, work).add_done_callback(lambda _: self._leave())
        item: T | _Ended | None = None
        try:
            while not isinstance(item := await queue.get(), _Ended):
                yield item
        finally:
            if not isinstance(item, _Ended):  # whoever listened has left
                cancel.set()
        if item.error is not None:
            raise item.error

    async def last(self, begin: Callable[[], Iterator[T]], cancel: threading.Event) -> T:
        """The last thing that an iterator gives which runs in a thread.

        Raises:
            CancelledError: `cancel` was set before that.
        """

        def only_last() -> Iterator[T]:
            last: list[T] = []
            for item in begin():
                if cancel.is_set():  # this may not be the last, and whoever reads it counts on that
                    raise CancelledError("the request was given up: nobody waits for its answer")
                last = [item]
            yield from last

        items = [item async for item in self.stream(only_last, cancel)]
        return items[0]

    def _in_live(self, work: Callable[[], T]) -> asyncio.Future[T]:
        self._listening += 1
        running = asyncio.get_running_loop().run_in_executor(self._live, work)
        running.add_done_callback(lambda _: self._rest())
        return running

    def _leave(self) -> None:
        self._taken -= 1

    def _rest(self) -> None:
        self._listening -= 1

    async def close(self) -> None:
        """Ends the threads; what runs has ended before, or had its time."""
        self._answering.shutdown(wait=False, cancel_futures=True)
        self._decoding.shutdown(wait=False, cancel_futures=True)
        self._live.shutdown(wait=False, cancel_futures=True)


def service_of(request: Any) -> Service:
    """The service of the app that a request or a WebSocket came to."""
    return cast(Service, request.app.state.service)
