"""One connection: answers leave at once, nobody holds one for nothing, what is no HTTP is refused as all else is."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from auricle.server.failures import ApiError

BROKEN = ApiError(400, "this is no HTTP/1.1 request, or its headers have more than 64 kB: send a sound one")
UNREAD_S = 60.0  # for how long a client may take in nothing of what waits for it


class Protocol(H11Protocol):
    """uvicorn's, but for four things.

    An answer goes out as a head and a body. The second waits until the client confirms the first, which takes it 40 ms,
    unless the system is told not to; asyncio does that only for sockets that were made with TCP's number.

    uvicorn is patient without end with whoever connects and says nothing, or half of a head. Here the time that an idle
    connection has (`timeout_keep_alive`) begins when it is made, and ends with a head that is whole.

    So it is with whoever asks and does not read: here that ends a connection, unless something is read now and then.

    And uvicorn answers what it can't parse with a line of plain text.
    """

    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._leave_reader()  # who asks for more is there
        self.conn.receive_data(data)  # uvicorn's ends the time for a head here, at the first byte
        self.handle_events()

    def timeout_keep_alive_handler(self) -> None:
        begun = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] != b""
        if begun and not self.transport.is_closing():
            text = f"the head of the request was not there after {self.timeout_keep_alive:g} s: send it in one go"
            self._refuse(ApiError(408, text))
        else:
            super().timeout_keep_alive_handler()
            self._watch_reader()

    def send_400_response(self, msg: str) -> None:
        self._refuse(BROKEN)

    def _refuse(self, failure: ApiError) -> None:
        response = failure.response()
        head = h11.Response(status_code=failure.status, headers=[*response.raw_headers, (b"connection", b"close")])
        with suppress(h11.LocalProtocolError):  # an answer was under way, to a request whose body then broke
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._watch_reader()

    # --- clients that do not read

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        self._leave_reader()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave_reader()
        super().connection_lost(exc)

    def _watch_reader(self) -> None:
        self._leave_reader()
        if waiting := self.transport.get_write_buffer_size():
            self._unread = self.loop.call_later(UNREAD_S, self._look_at_reader, waiting)

    def _leave_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look_at_reader(self, before: int) -> None:
        """`before`: bytes that waited when they were last looked at; no more than an answer's end has been added."""
        if self.transport.get_write_buffer_size() < before:
            self._watch_reader()
        else:
            self.transport.abort()  # a close would wait until all is read
