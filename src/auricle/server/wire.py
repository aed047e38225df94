"""What is no HTTP at all is refused in the shape of all other errors, where uvicorn would send a line of plain text."""

from __future__ import annotations

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from auricle.server.failures import ApiError

BROKEN = ApiError(
    400, "this is no HTTP/1.1 request, or its headers are larger than 64 kB: send one that is well formed"
)


class Protocol(H11Protocol):
    """One connection."""

    def send_400_response(self, msg: str) -> None:
        response = BROKEN.response()
        head = h11.Response(status_code=400, headers=[*response.raw_headers, (b"connection", b"close")])
        try:
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer was under way, to a request whose body then broke
            self.logger.debug("broken off within an answer")
        self.transport.close()
