"""One connection: answers leave at once, and what is no HTTP at all is refused in the shape of all other errors."""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from auricle.server.failures import ApiError

BROKEN = ApiError(400, "this is no HTTP/1.1 request, or its headers have more than 64 kB: send a sound one")


class Protocol(H11Protocol):
    """uvicorn's, but for two things.

    An answer goes out as a head and a body. The second waits until the client confirms the first, which takes it 40 ms,
    unless the system is told not to; asyncio does that only for sockets that were made with TCP's number.

    And uvicorn answers what it can't parse with a line of plain text.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def send_400_response(self, msg: str) -> None:
        response = BROKEN.response()
        head = h11.Response(status_code=400, headers=[*response.raw_headers, (b"connection", b"close")])
        try:
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer was under way, to a request whose body then broke
            self.logger.debug("broken off within an answer")
        self.transport.close()
