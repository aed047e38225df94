"""Writing a checkpoint folder so that it is there whole or not at all, and its tensors piece by piece."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from auricle.errors import AuricleError, OptionError
from auricle.jobs.folder import synced

ALIGNMENT = 64  # bytes: a cache line, and the kernels' widest load
BYTES = {"U8": 1, "I8": 1, "F16": 2, "BF16": 2, "F32": 4}


@dataclass(frozen=True)
class Entry:
    """A tensor to be written."""

    dtype: str  # as safetensors names it
    shape: tuple[int, ...]
    bytes: int

    @classmethod
    def of(cls, dtype: str, shape: tuple[int, ...]) -> Entry:
        return cls(dtype, shape, prod(shape) * BYTES[dtype])


class Writer:
    """One safetensors file whose tensors are known beforehand, and are written in pieces, each in its own order.

    The largest powers of two that divide the tensors' sizes fall along the file, up to `ALIGNMENT`. So with no gaps,
    which the format forbids, each begins at a multiple of its own: packed weights, whose sizes are multiples of 64, at
    such offsets (https://github.com/huggingface/safetensors, "Format").
    """

    def __init__(self, path: Path, entries: Mapping[str, Entry]) -> None:
        self._header, self._places = _layout(entries)
        self._path, self._entries = path, dict(entries)
        self._done = dict.fromkeys(entries, 0)  # bytes of each that are written
        self.size = len(self._header) + sum(entry.bytes for entry in entries.values())

    def __enter__(self) -> Writer:
        self._stream = self._path.open("wb")
        self._stream.write(self._header)
        return self

    def write(self, name: str, piece: Tensor) -> None:
        """The next numbers of a tensor, of the dtype that was announced."""
        content = piece.detach().contiguous().view(-1).view(torch.uint8).numpy()
        self._stream.seek(self._places[name] + self._done[name])
        self._stream.write(content.data)
        self._done[name] += len(content)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stream:
            if error is not None:
                return
            missing = [name for name, entry in self._entries.items() if self._done[name] != entry.bytes]
            assert not missing, f"{missing[0]} was not written whole"
            self._stream.flush()
            os.fsync(self._stream.fileno())


def _layout(entries: Mapping[str, Entry]) -> tuple[bytes, dict[str, int]]:
    """The file's beginning, and where each tensor begins."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begins, end = {}, 0
    for name in sorted(entries, key=lambda name: -_alignment(entries[name].bytes)):
        entry = entries[name]
        begins[name], end = end, end + entry.bytes
        header[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [begins[name], end]}
    packed = json.dumps(header).encode()
    packed += b" " * (-(8 + len(packed)) % ALIGNMENT)
    head = struct.pack("<Q", len(packed)) + packed
    return head, {name: len(head) + begin for name, begin in begins.items()}


def _alignment(size: int) -> int:
    """The largest power of two that divides a size, at most `ALIGNMENT`."""
    return min(size & -size, ALIGNMENT) if size else ALIGNMENT


@contextmanager
def new_folder(out: Path, size: int) -> Iterator[Path]:
    """A folder beside `out` to write into. It becomes `out` when the block is done, and is removed when it fails.

    Args:
        out: not there yet, or empty.
        size: how many bytes will be written.

    Raises:
        OptionError: `out` is there and not empty, is no folder's name, or has no parent.
        AuricleError: the disk hasn't so many bytes free, fills up on the way, or can't be written to.
    """
    _require_free(out, size)
    part = out.with_name(f"{out.name}.part-{secrets.token_hex(4)}")
    try:
        part.mkdir()
        yield part
        synced(part)
        if out.exists():
            out.rmdir()
        part.rename(out)
        synced(out.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AuricleError(
                f"{_no_room(out, size)}; nothing was left there: free some, or choose another"
            ) from error
        raise AuricleError(f"{out} can't be written ({error.strerror or error}); nothing was left there") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)  # no longer there when all went well


def write_file(path: Path, content: bytes) -> None:
    """A small file, on the disk when this returns."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _require_free(out: Path, size: int) -> None:
    if not out.name:  # "." or "/"
        raise OptionError(f"{out} can't be replaced: name a new folder")
    if out.is_dir():
        if any(out.iterdir()):
            raise OptionError(f"{out} is there and not empty: name a new folder")
    elif out.exists():
        raise OptionError(f"{out} is a file: name a new folder")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"{out} can't be made: there is no folder {out.absolute().parent}")
    free = shutil.disk_usage(out.absolute().parent).free
    if free < size:
        raise AuricleError(f"{_no_room(out, size)}, {free / 1e9:.2f} GB are free: free some, or choose another")


def _no_room(out: Path, size: int) -> str:
    return f"the disk of {out} is too full: {size / 1e9:.2f} GB ({size} bytes) are needed"
