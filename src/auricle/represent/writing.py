"""A memory-mapped array that grows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = 128  # bytes before the numbers of a growing array


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
