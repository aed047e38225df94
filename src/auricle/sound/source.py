"""Where encoded sound comes from: a path, bytes or a stream, as one thing that FFmpeg reads and that keeps to a limit.

What is unusual: FFmpeg understands a file better when it can seek (an m4a's index may stand at its end, an mp3 is
trimmed to its exact length). So a stream is first read into memory up to 64 MiB, where nearly every recording ends. A
longer one flows through without being kept, except mp4, which can't do without seeking: it goes to a temporary file.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from auricle.errors import SoundError, TooLongError

KEPT_BYTES = 64 << 20  # of a stream, in memory
CHUNK = 1 << 20
MAX_NAME = 300  # letters, in a message


class Source:
    """What FFmpeg reads from; also answers what stands at a position, and how much there is.

    Python's `KeyboardInterrupt` and our own errors can't pass through FFmpeg's C code. `read` keeps them in `failure`
    and reports an end of file; whoever asked FFmpeg to read raises them with `raise_failure`.
    """

    def __init__(self, raw: BinaryIO, name: str, max_bytes: int, *, head: bytes = b"", size: int | None = None) -> None:
        self.name = name
        self.size = size  # in bytes; None when the sound flows through and its end isn't known
        self.taken = 0  # bytes read so far, of a sound that flows through
        self.failure: BaseException | None = None
        self._raw = raw
        self._head = head  # what was read ahead of a sound that flows through
        self._max_bytes = max_bytes

    def read(self, count: int) -> bytes:
        try:
            return self._read(count)
        except BaseException as error:
            self.failure = error
            return b""

    def seekable(self) -> bool:
        return self.size is not None

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._raw.seek(offset, whence)
        except (OSError, ValueError):  # a damaged file sent FFmpeg to an impossible place
            return -1

    def at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`, without moving; of a sound that flows through, only what was kept."""
        if self.size is None:
            return self._head[offset : offset + count]
        position = self._raw.tell()
        self._raw.seek(offset)
        try:
            return self._raw.read(count)
        finally:
            self._raw.seek(position)

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _read(self, count: int) -> bytes:
        if self.size is not None:
            return as_bytes(self._raw.read(count), self.name)
        data = self._head[self.taken : self.taken + count] or as_bytes(self._raw.read(count), self.name)
        self.taken += len(data)
        if self.taken > self._max_bytes:
            raise _too_large(self.name, self._max_bytes)
        return data


@contextmanager
def open_source(source: str | Path | bytes | BinaryIO, max_bytes: int, name: str | None = None) -> Iterator[Source]:
    """Opens what the caller gave; closes only what was opened here."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield _in_memory(bytes(source), name or "the bytes given", max_bytes)
    elif isinstance(source, (str, Path)):
        with _open_path(source, one_line(name or str(source))) as stream:
            yield _of_stream(stream, one_line(name or str(source)), max_bytes)
    elif hasattr(source, "read"):
        yield _of_stream(source, one_line(name or str(getattr(source, "name", "the stream given"))), max_bytes)
    else:
        raise SoundError(f"a sound comes as a path, bytes or a binary stream, not as {type(source).__name__}")


def one_line(name: str) -> str:
    """A file's name for a message: names may hold anything, line breaks too, and may be of any length, or none."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name) or "''"
    return shown if len(shown) <= MAX_NAME else "..." + shown[3 - MAX_NAME :]


def _open_path(path: str | Path, name: str) -> BinaryIO:
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 - Path("") would quietly become "."
            raise SoundError(f"{name} is a directory; give one sound file")
        return Path(path).open("rb")
    except FileNotFoundError:
        hint = "download it first" if "://" in str(path) else "check the path"
        raise SoundError(f"there is no file {name}; {hint}") from None
    except PermissionError:
        raise SoundError(f"{name} can't be read: permission denied; check its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise SoundError(f"{name} can't be opened ({reason}); check the path") from None


def _of_stream(stream: BinaryIO, name: str, max_bytes: int) -> Source:
    try:
        if _is_at_start(stream):
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            # Pseudo files such as those in /proc have a size of 0 and yet a content: they are read like a pipe.
            if size:
                _check_size(size, name, max_bytes)
                return Source(stream, name, max_bytes, size=size)
        head = _read_until(stream, min(KEPT_BYTES, max_bytes + 1), name)
        if len(head) > max_bytes:
            raise _too_large(name, max_bytes)
        if len(head) < KEPT_BYTES:
            return _in_memory(head, name, max_bytes)
        if head[4:8] == b"ftyp":
            return _in_temporary_file(stream, head, name, max_bytes)
        return Source(stream, name, max_bytes, head=head)
    except OSError as error:
        reason = error.strerror or errno.errorcode.get(error.errno or 0, "unknown")
        raise SoundError(f"{name} can't be read: {reason}") from None


def _is_at_start(stream: BinaryIO) -> bool:
    """Whether the stream can seek and none of it has been read; one that is further on is read from there."""
    try:
        return stream.seekable() and stream.tell() == 0 and stream.seek(0, os.SEEK_END) >= 0
    except (AttributeError, OSError):  # character devices claim to seek and then don't
        return False


def _in_memory(data: bytes, name: str, max_bytes: int) -> Source:
    _check_size(len(data), name, max_bytes)
    return Source(BytesIO(data), name, max_bytes, size=len(data))


def _in_temporary_file(stream: BinaryIO, head: bytes, name: str, max_bytes: int) -> Source:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the Source, and vanishes with it
    size = file.write(head)
    while data := stream.read(CHUNK):
        size += file.write(data)
        if size > max_bytes:
            file.close()
            raise _too_large(name, max_bytes)
    file.seek(0)
    return Source(file, name, max_bytes, size=size)


def _read_until(stream: BinaryIO, count: int, name: str) -> bytes:
    """Up to `count` bytes; fewer only at the end of the stream."""
    parts: list[bytes] = []
    missing = count
    while missing and (data := as_bytes(stream.read(min(CHUNK, missing)), name)):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def as_bytes(data: object, name: str) -> bytes:
    """What a stream's `read` gave, if it is bytes; a `SoundError` otherwise."""
    if not isinstance(data, bytes):
        raise SoundError(f"{name} gives {type(data).__name__}, not bytes; open it in binary mode (rb)")
    return data


def _check_size(size: int, name: str, max_bytes: int) -> None:
    if size == 0:
        raise SoundError(f"{name} is empty (0 bytes); give a file with sound in it")
    if size > max_bytes:
        raise _too_large(name, max_bytes, size)


def _too_large(name: str, max_bytes: int, size: int | None = None) -> TooLongError:
    has = f"has {size:,} bytes" if size is not None else f"goes on after {max_bytes:,} bytes"
    return TooLongError(f"{name} {has}; the limit is {max_bytes:,} bytes: cut it, or raise max_bytes")
