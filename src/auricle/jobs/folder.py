"""Folders that one run writes to, and files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
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
        synced(path.parent)
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
def readable(path: Path, called: str, absent: str) -> Iterator[None]:
    """What is said of a text that can't be read: it is `absent`, or `called` ... can't be read.

    Raises:
        InputError: the file isn't there, can't be read, or is no UTF-8.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{absent} {path}; check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{called} is no UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{called} can't be read ({error.strerror or error}); check it") from None


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Makes the folder and keeps a second run out of it for as long as this one goes on.

    Of a run that wrote nothing, as one that is refused, no new folder stays, and no lock in a folder that had none.

    Raises:
        InputError: another run is in it, or it can't be made.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system: two runs into one folder aren't told apart
        fcntl = None  # type: ignore[assignment]
    with told_when_full(out, "nothing is written"):
        new = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        unlocked = not (out / LOCK).exists()
        file = (out / LOCK).open("w")
    try:
        with file:
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"another run is writing to {out}: wait for it, or name another folder") from None
            yield
    except InputError:
        if unlocked:
            (out / LOCK).unlink(missing_ok=True)
        raise
    finally:
        if new and out.is_dir() and {path.name for path in out.iterdir()} <= {LOCK}:
            _removed(out, new)


def _removed(out: Path, new: Sequence[Path]) -> None:
    """Takes back what `locked` made, as far as nobody has begun to use it since."""
    with suppress(OSError):
        (out / LOCK).unlink(missing_ok=True)
        for folder in new:
            folder.rmdir()


def refuse_others(out: Path, plan: str, own: Collection[str] = ()) -> None:
    """Keeps a run out of a folder that no run of its kind has begun.

    Args:
        plan: the file that would say so.
        own: names that a run may have left there before it wrote its plan.

    Raises:
        InputError: there is something else in it.
    """
    others = sorted(
        path.name for path in out.iterdir() if path.name not in (LOCK, *own) and not path.name.endswith(".part")
    )
    if others:
        raise InputError(f"{out} holds other files ({others[0]}, ...) and no {plan}: name a folder of its own")


def synced(folder: Path) -> None:
    """Makes a folder's entries durable, where the system lets one open a folder."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
