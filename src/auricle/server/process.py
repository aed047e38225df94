"""One process of the server: loads the model while it listens already, and stops without losing a request.

uvicorn's own stop closes connections that are idle, also those on which a request is on its way, lets the kernel reset
those that nobody has taken in yet, and raises the signal again, so that the exit status is that of a killed process.
Here it goes in steps: `Process.shutdown`.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from auricle.server import log
from auricle.server.app import create_app
from auricle.server.run import WAITING
from auricle.server.settings import Settings
from auricle.server.underway import Underway
from auricle.server.wire import Protocol

HEAD_S = 30  # until the whole head of a request must have come, on a new connection or an idle one
LINGER_S = 1.0  # how long an idle connection stays open, for a request that may be on its way
CUT_S = 5.0  # how long it may take to tell the clients of what was cut, and to end its threads
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Process(uvicorn.Server):
    """A server that ends when its model can't be loaded, and by a signal.

    Args:
        sockets: they listen already.
        shared: other processes take connections from them, too; this one does when it is ready. Alone, it says that it
            is not ready.
        ready: called when the model is loaded.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: list[socket.socket],
        *,
        shared: bool = False,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        app = create_app(settings)
        self.underway = Underway(app)
        super().__init__(
            uvicorn.Config(
                self.underway,
                http=Protocol,  # one parser and one loop, whatever else is installed: what was tested is what runs
                loop="asyncio",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=HEAD_S,
                ws_max_size=4 << 20,
                ws_ping_timeout=None,  # a client that isn't read from, because much waits, isn't gone
                backlog=WAITING,
            )
        )
        self.settings, self.service = settings, app.state.service
        self.failure: Exception | None = None  # why the model could not be loaded
        self._sockets, self._shared, self._ready = sockets, shared, ready
        self._loading = threading.Thread(target=self._load, name="load", daemon=True)

    def serve_until_stopped(self) -> None:
        """Returns when all is done that was begun, or was cut.

        Raises:
            Exception: what `Model.load` raised.
        """
        self.run(sockets=self._sockets)
        if self.failure is not None:
            raise self.failure

    @property
    def computing(self) -> bool:
        """Whether threads are at work that can't be told to end, such as one that loads a model."""
        return self._loading.is_alive() or self.service.computing > 0

    # --- the steps of uvicorn.Server

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loading.start()
        while self._shared and self._loading.is_alive() and not self.should_exit:
            await asyncio.sleep(0.05)  # others may be ready: who comes is theirs, or waits at the port
        if self.should_exit:
            return
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        if self._shared and counter % 10 == 0:
            self.service.metrics.look()  # whichever process is asked for /metrics reads what all have written
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        state, end = self.server_state, time.monotonic() + self.settings.shutdown_s
        log.event("stopping", requests=len(self.underway))
        self.underway.stopping = True
        self.service.stopping.set()
        await self._close_port()
        idle: dict[object, float] = {}  # since when connections are
        while (state.connections or state.tasks) and time.monotonic() < end and not self.force_exit:
            self._close_idle(idle)
            await self._pause()
        if len(self.underway):
            log.event("cut", requests=self.underway.cut())
        for connection in list(state.connections):
            connection.shutdown()
        end = time.monotonic() + CUT_S
        while (state.connections or state.tasks or self.service.computing) and time.monotonic() < end:
            await self._pause()
        await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # --- our own

    def _load(self) -> None:
        begun = time.perf_counter()
        try:
            self.service.load()
        except Exception as error:  # whatever it is: a server without a model helps nobody
            self.failure, self.should_exit = error, True
            return
        log.event("ready", model=self.settings.model, seconds=round(time.perf_counter() - begun, 2))
        for note in self.service.model.backend.notes:
            log.event("note", text=note)
        self._ready()

    async def _close_port(self) -> None:
        """Takes in who has connected already; whoever comes later is refused."""
        taken = []
        for listening, server in zip(self._sockets, self.servers, strict=True):
            while (connection := _accept(listening)) is not None:
                taken.append(connection)
            server.close()  # nothing is awaited in between: nobody can come after the last look
        loop = asyncio.get_running_loop()
        for connection in taken:
            await loop.connect_accepted_socket(self._protocol, connection)
        await self._pause()  # those that the loop has accepted become connections

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _close_idle(self, idle: dict[object, float]) -> None:
        """Closes connections on which nothing has come for a while; WebSockets are closed by their sessions."""
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            if not isinstance(connection, Protocol):
                continue
            if connection.cycle is not None and not connection.cycle.response_complete:
                idle.pop(connection, None)
            elif now - idle.setdefault(connection, now) >= LINGER_S:
                connection.shutdown()

    async def _pause(self) -> None:
        if self._shared:
            self.service.metrics.look()
        await asyncio.sleep(0.05)


def _accept(listening: socket.socket) -> socket.socket | None:
    try:
        return listening.accept()[0]
    except OSError:  # nobody waits; or they have left again
        return None
