"""Bytes from a stream as soon as they are there.

`read(n)` of a buffered stream waits until all n bytes have come, which for sound means to hear it late; `read1` and the
`read` of an unbuffered stream give what there is. A pipe may also have been made non-blocking by whoever shares it, and
then "nothing yet" looks like the end of the stream.
"""

from __future__ import annotations

import os
import select
from typing import BinaryIO

from auricle.errors import SoundError
from auricle.sound.source import as_bytes


class Pipe:
    """A stream that is read from where it stands, and not closed."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self.taken = 0  # bytes given so far
        self._read = getattr(stream, "read1", stream.read)
        self._descriptor = _descriptor(stream)
        self._ahead = b""  # read and not given yet

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, which will be given again; fewer only at the end of the stream."""
        while len(self._ahead) < count and (data := self._come(count - len(self._ahead))):
            self._ahead += data
        return self._ahead[:count]

    def some(self, most: int) -> bytes:
        """Up to `most` bytes, at least one; waits only while there is none. Empty at the end of the stream.

        Raises:
            SoundError: the stream can't be read, or gives text.
        """
        data = self._ahead[:most] or self._come(most)
        self._ahead = self._ahead[most:]
        self.taken += len(data)
        return data

    def at_once(self, most: int) -> bytes:
        """Up to `most` bytes that are there already; empty also where more may come."""
        if not self._ahead and self._descriptor is not None and not select.select([self._descriptor], [], [], 0)[0]:
            return b""
        return self.some(most)

    def exactly(self, count: int) -> bytes:
        """`count` bytes; fewer only at the end of the stream."""
        parts = []
        while count and (data := self.some(count)):
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def _come(self, most: int) -> bytes:
        try:
            data = self._read(most)
            if not data and self._descriptor is not None and not os.get_blocking(self._descriptor):
                select.select([self._descriptor], [], [])  # until there is something, or the end
                data = self._read(most)
        except OSError as error:
            raise SoundError(f"{self.name} can't be read: {error.strerror or error}") from None
        return as_bytes(data, self.name)


def _descriptor(stream: BinaryIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):  # one in memory, or wrapped around something else
        return None
