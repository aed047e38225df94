"""A request's connection, which is cut when its time is up or when nobody wants its answer any more.

A read that waits for a server ends by itself only after a time-out that starts anew with every byte. So the socket is
shut down from outside, which ends the read at once; closing it would not. The HTTP library tells of a new socket by its
`trace` extension (https://www.encode.io/httpcore/extensions/#trace). Connections are not kept for a next request: one
is made in no time against what a model takes, and a kept one may have been closed by the server meanwhile.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_CONNECTED = ("connect_tcp.complete", "start_tls.complete")  # how the trace names a socket that is ready

_local = threading.local()  # .line: whose connection is being made in this thread


class Line:
    """Of one request, over all its attempts."""

    def __init__(self) -> None:
        self.given_up = threading.Event()
        self.overdue = False  # the attempt's time was up
        self._lock = threading.Lock()
        self._socket: Any = None

    def give_up(self) -> None:
        """Ends what the request waits for, from any thread."""
        self.given_up.set()
        self._cut()

    @contextmanager
    def attempt(self, seconds: float) -> Iterator[None]:
        """Within, the connection lasts so long at most."""
        self.overdue = False
        timer = threading.Timer(seconds, self._time_is_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                self._socket = None

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Within, connections that this thread makes are this line's."""
        _local.line = self
        try:
            yield
        finally:
            _local.line = None

    def _time_is_up(self) -> None:
        self.overdue = True
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # the server was first
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # TLS has no say in it

    def _trace(self, name: str, info: dict[str, Any]) -> None:
        if not name.endswith(_CONNECTED):
            return
        with self._lock:
            self._socket = info["return_value"].get_extra_info("socket")
        if self.overdue or self.given_up.is_set():
            self._cut()


def follow(request: Any) -> None:
    """A hook for every HTTP request: its socket is told to the line that asked for it."""
    line: Line | None = getattr(_local, "line", None)
    if line is not None:
        request.extensions = {**request.extensions, "trace": line._trace}
