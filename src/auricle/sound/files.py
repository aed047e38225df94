"""Files with sound in them: which of a folder are meant, what can't be read twice, and whether one has changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from auricle.errors import InputError, SoundError
from auricle.sound.extensions import EXTENSIONS

SAMPLED_BYTES = 4096  # of a file, at three places: what tells it from another of its size


def sounds_in(
    folder: Path, without: str | Path | None = None, left_out: Callable[[str, Path], None] = lambda why, path: None
) -> Iterator[Path]:
    """Files with a sound's extension, however deep; no hidden ones, no pipes, none of the folder `without`.

    Args:
        left_out: called with why something in the folder isn't given, and with its path.

    Raises:
        InputError: the name of one is no UTF-8, or a folder in it can't be read.
    """
    written = None if without is None else Path(without).resolve()
    for name, folders, files in os.walk(folder, onerror=_unreadable):
        if written is not None:
            folders[:] = [inner for inner in folders if Path(name, inner).resolve() != written]
        for inner in folders:
            if Path(name, inner).is_symlink():
                left_out("behind a link to a folder", Path(name, inner))
        for file in files:
            path = Path(name, file)
            if why := _why_not(path):
                left_out(why, path)
                continue
            check_name(path)
            yield path


def _why_not(path: Path) -> str | None:
    if path.suffix.lower().removeprefix(".") not in EXTENSIONS:
        return "without a sound's extension"
    if path.name.startswith("."):
        return "hidden"
    if path.is_file():
        return None
    return "no regular file" if path.exists() else "behind a link to nothing"


def _unreadable(error: OSError) -> None:
    raise InputError(
        f"folder {error.filename} can't be read ({error.strerror}): make it readable, or name those beside it"
    ) from None


def check_name(path: Path) -> None:
    """
    Raises:
        InputError: no manifest can hold it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"the name of {str(path)!a} is no UTF-8, as that of every sound must be: rename it") from None


def is_special(path: str) -> bool:
    """Whether it is a pipe, a socket or a device: something that can be read once, or has no end."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - Path would refuse some names that only reading should
    except (OSError, ValueError):
        return False  # reading it will say why
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_special(path: str) -> None:
    """
    Raises:
        SoundError: a sound that can't be read twice: for its length, and for its samples.
    """
    if is_special(path):
        raise SoundError(f"{path} is a pipe or a device, which can't be read twice: write the sound to a file first")


def fingerprint(path: str) -> bytes:
    """The size of a file and some of its bytes; nothing of one that can't be read. Clips are often of one size."""
    if is_special(path):
        return b"\n"
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - Path would refuse some names that only reading should
            size = file.seek(0, os.SEEK_END)
            places = (0, size // 2, max(0, size - SAMPLED_BYTES))
            return b"%d\n" % size + b"".join(_bytes_at(file, place) for place in places)
    except (OSError, ValueError):
        return b"-\n"


def _bytes_at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(SAMPLED_BYTES)
