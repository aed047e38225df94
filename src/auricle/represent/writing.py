"""Files that are there whole or not at all, and a memory-mapped array that grows."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import AuricleError, InputError

UNFIT = (
    *(errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST),
    *(errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
)
HEADER = 128  # bytes before the numbers of a growing array


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


class GrowingArray:
    """An .npy file of `(rows, ...)` whose rows are appended: `numpy.load(path, mmap_mode="r")` reads it at any time.

    The header has room for any number of rows (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
    """

    def __init__(self, path: Path, rows: int) -> None:
        """Goes on behind the first `rows`; what stands after them was never finished."""
        self.path, self.rows = path, rows

    def append(self, values: NDArray[Any]) -> None:
        """New rows: on the disk, and counted in the header, when this returns."""
        row = values[:1].nbytes
        with self.path.open("r+b" if self.path.exists() else "w+b") as stream:
            stream.truncate(HEADER + self.rows * row if self.rows else 0)
            stream.seek(HEADER + self.rows * row)
            stream.write(np.ascontiguousarray(values).data)
            stream.flush()
            os.fsync(stream.fileno())
            self.rows += len(values)
            stream.seek(0)
            stream.write(_header(values.dtype, (self.rows, *values.shape[1:])))
            stream.flush()
            os.fsync(stream.fileno())


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    words = str({"descr": dtype.str, "fortran_order": False, "shape": shape}).encode()
    start = b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little")
    return start + words.ljust(HEADER - 11) + b"\n"


@contextmanager
def told_when_full(out: Path, done: str) -> Iterator[None]:
    """
    Raises:
        AuricleError: the disk is full, or can't be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise AuricleError(
                f"the disk of {out} is full; {done}: free some, and run the same command again"
            ) from error
        if error.errno in UNFIT:
            raise InputError(f"{out} can't be written to ({error.strerror}): name another folder") from error
        raise


def _sync(folder: Path) -> None:
    """Makes a folder's entries durable, where the system lets one open a folder."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
