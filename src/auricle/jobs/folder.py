"""Folders that one run writes to, and files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auricle.errors import AuricleError, InputError

LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNFIT = (
    *(errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
)


def replaced(path: Path, content: bytes) -> None:
    """Writes a file beside its place, and moves it there once it is on the disk."""
    with replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` when the block is done."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def told_when_full(out: Path, done: str) -> Iterator[None]:
    """
    Raises:
        AuricleError: the disk is full; `done` says what stays.
        InputError: the folder can't be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise AuricleError(
                f"the disk of {out} is full; {done}: free some, and run the same command again"
            ) from error
        if error.errno in UNFIT:
            raise InputError(f"{out} can't be written to ({error.strerror}): name another folder") from error
        raise


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Makes the folder and keeps a second run out of it for as long as this one goes on.

    Raises:
        InputError: another run is in it, or it can't be made.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system: two runs into one folder aren't told apart
        fcntl = None  # type: ignore[assignment]
    with told_when_full(out, "nothing is written"):
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("w")
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is writing to {out}: wait for it, or name another folder") from None
        yield


def _sync(folder: Path) -> None:
    """Makes a folder's entries durable, where the system lets one open a folder."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
