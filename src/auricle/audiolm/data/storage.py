"""Where the codes of an item lie: any of lhotse's storages, read as whole numbers or refused.

lhotse keeps every HDF5 file that it ever read open (https://github.com/lhotse-speech/lhotse, `lookup_cache_or_open`); a
folder of some thousand shards would run into the system's limit, so those are opened here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import InputError
from auricle.jobs.extras import needed

WHAT, EXTRA = "reading codes", "train"
HDF5 = "numpy_hdf5"
OPEN_FILES = 32  # HDF5 files held open at a time


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies, in lhotse's words."""

    kind: str  # its storage_type: numpy_hdf5, numpy_files, lilcom_chunky, ...
    path: str  # its storage_path: an archive, or the folder of `_files`
    key: str  # its storage_key

    @property
    def file(self) -> Path:
        """What has to be on the disk."""
        return Path(self.path, self.key) if self.kind.endswith("_files") else Path(self.path)

    @property
    def is_archive(self) -> bool:
        return self.kind.endswith("hdf5")

    def read(self, first: int = 0, end: int | None = None) -> NDArray[Any]:
        """Its rows from `first` to before `end`, as they are stored.

        Raises:
            InputError: they can't be read. UnsupportedError: a package for this storage isn't installed.
        """
        try:
            if self.kind == HDF5:
                with _opening:
                    return np.asarray(_opened(self.path)[self.key][first:end])
            return np.asarray(_reader(self)(self.path).read(self.key, first, end))
        except KeyError:
            raise InputError(f"{self.path} has no array {self.key!r}: make the folder anew") from None
        except (OSError, ValueError, EOFError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"the codes in {self.file} can't be read ({reason}): make the folder anew") from None


def whole_numbers(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Codes as int64.

    Raises:
        InputError: some are no whole numbers, as lossy storages (lilcom) may leave them.
    """
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind != "f" or not np.array_equal(values, np.rint(values)):
        raise InputError(
            f"the codes of {name} are no whole numbers but {values.dtype}: they went through a storage that rounds, as "
            "lilcom does, or are features of another kind; store them by lhotse's NumpyHdf5Writer"
        )
    return values.astype(np.int64)


def check_archive(path: Path) -> str | None:
    """What is wrong with an HDF5 file that is there; None of one that can be opened."""
    try:
        with needed("h5py", WHAT, EXTRA).File(path, "r"):
            return None
    except OSError as error:
        return " ".join(str(error).split())[:200]


# HDF5 files by path, the last used at the end. The lock: another thread must not close what this one reads.
_files: OrderedDict[str, Any] = OrderedDict()
_opening = Lock()


def _opened(path: str) -> Any:
    if path not in _files:
        while len(_files) >= OPEN_FILES:
            _files.popitem(last=False)[1].close()
        _files[path] = needed("h5py", WHAT, EXTRA).File(path, "r")
    _files.move_to_end(path)
    return _files[path]


def close_files() -> None:
    """Closes what is held open: before a file is written anew under its name."""
    with _opening:
        while _files:
            _files.popitem()[1].close()


def _reader(place: Place) -> Any:
    found = needed("lhotse.features.io", WHAT, EXTRA).get_reader(place.kind)
    if found is None:
        raise InputError(f"storage {place.kind!r} is none that lhotse knows: store codes by its NumpyHdf5Writer")
    if "lilcom" in place.kind:
        needed("lilcom", f"storage {place.kind}", EXTRA)
    return found
