"""Packed decoders on a CPU as programs of the native kernels: what is the same for every family.

A `Recording` holds the operations of a pass in order, and the buffers between them; a family's own records what its
decoder computes. Every token and prompt then runs that list in one call. Activations are float32 throughout, whatever
the decoder's dtype, and linears take them in int8; keys and values have the decoder's dtype.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auricle.layers import native
from auricle.layers.cache import SLACK, SlotCache
from auricle.layers.norms import RMSNorm
from auricle.layers.table import Lookup
from auricle.models.family import Part

ROWS = SLACK  # positions that are read at a time, of all requests: more gain little and take 0.2 MB each
WANTED = 16  # of these, whose logits are wanted, which take 1 MB each

Place = tuple[int, int]  # buffer, first column


def missing(decoder: nn.Module, dtype: torch.dtype, device: torch.device) -> str | None:
    """None when a decoder, its head included, can run as a program, else what stands against it."""
    linears = [module for module in decoder.modules() if hasattr(module, "in_features")]
    tables = [module for module in decoder.modules() if isinstance(module, Lookup)]
    if dtype not in (torch.float32, torch.bfloat16):
        return f"activations are {str(dtype).removeprefix('torch.')}"
    if not all(hasattr(module, "bits") for module in [*linears, *tables]):
        return "not all weights are packed"
    if device.type != "cpu":
        return "it is not on a CPU"
    return native.missing()


class ProgramCache:
    """Keys and values of one request, for the layers that own them."""

    def __init__(self, layers: Sequence[SlotCache]) -> None:
        self.length = 0  # positions read so far
        self._reached = 0  # the most there ever were: their slots have been written
        self.layers = list(layers)
        self._places = np.zeros((len(self.layers), 3), dtype=np.int64)

    @property
    def shortest(self) -> int:
        """The least length that it can be forked or truncated to."""
        return max(layer.shortest(self._reached) for layer in self.layers)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on."""
        assert self.shortest <= length <= self.length
        self.length = length

    def fork(self, length: int) -> ProgramCache:
        """One that goes on by itself from this length."""
        assert self.shortest <= length <= self.length
        copy = ProgramCache([layer.fork() for layer in self.layers])
        copy.length, copy._reached = length, self._reached
        for place, layer in zip(copy._places, copy.layers, strict=True):
            place[:] = layer.place
        return copy

    def reserve(self, rows: int) -> Any:
        """Makes room for new positions; where each layer's keys and values are, and how many slots: `(layers, 3)`.

        From here on their slots count as written: a pass may be broken off before it is counted.
        """
        self._reached = max(self._reached, self.length + rows)
        for place, layer in zip(self._places, self.layers, strict=True):
            if layer.reserve(self.length + rows):
                place[:] = layer.place
        return self._places

    def advance(self, rows: int) -> None:
        """Counts positions that were read."""
        self.length += rows


class DecoderProgram:
    """Reads token ids and audio tokens into caches of requests and gives logits. One call at a time; others wait.

    Args:
        record: makes the family's recording, when it is first needed.
        placeholder: the id that stands where an audio token goes.
        unheard: the id that such a one is where no audio goes: a model may write it.
    """

    def __init__(self, record: Callable[[], Recording], vocabulary: int, placeholder: int, unheard: int) -> None:
        self._record, self._vocabulary = record, vocabulary
        self._placeholder, self._unheard = placeholder, unheard
        self._alone = threading.Lock()
        self._recording: Recording | None = None

    @torch.inference_mode()  # buffers that were made in that mode can't be written to outside of it
    def read(self, parts: Sequence[Part]) -> list[Tensor]:
        """See `Family.read`."""
        given = [[torch.empty(0, self._vocabulary)] for _ in parts]
        with self._alone:
            native.ready()  # as many threads as torch has now
            self._recording = self._recording or self._record()
            shares = [_Share(i, part, self._placeholder, self._unheard) for i, part in enumerate(parts)]
            for batch in _passes(shares):
                logits, at = self._recording.run(batch), 0
                for piece in batch:
                    given[piece.share.number].append(logits[at : at + piece.wanted].clone())
                    at += piece.wanted
        return [rows[1] if len(rows) == 2 else torch.cat(rows) for rows in given]


class _Share:
    """What a part brings to the passes: its ids as the tables know them, -1 where an audio token goes."""

    def __init__(self, number: int, part: Part, placeholder: int, unheard: int) -> None:
        self.number, self.part = number, part
        self.ids = np.array(part.ids, dtype=np.int64)
        self.ids[self.ids == placeholder] = unheard if part.audio is None else -1
        self.heard = np.cumsum(self.ids < 0)  # audio tokens up to each position


@dataclass(frozen=True)
class _Piece:
    """Positions [start, end) of a share in one pass."""

    share: _Share
    start: int
    end: int

    @property
    def wanted(self) -> int:
        """Of how many of them the logits are wanted."""
        first = len(self.share.ids) - self.share.part.wanted
        return max(0, self.end - max(self.start, first))

    @property
    def audio(self) -> Tensor | None:
        if self.share.part.audio is None:
            return None
        before = self.share.heard[self.start - 1] if self.start else 0
        return self.share.part.audio[before : self.share.heard[self.end - 1]]


def _passes(shares: Sequence[_Share]) -> Iterator[list[_Piece]]:
    """Deals positions out to passes of at most `ROWS`, with at most `WANTED` whose logits are wanted."""
    batch: list[_Piece] = []
    rows, wanted = ROWS, WANTED
    for share in shares:
        start, count = 0, len(share.ids)
        while start < count:
            unwanted = max(0, count - share.part.wanted - start)
            end = min(count, start + min(rows, unwanted + wanted))
            if end > start:
                batch.append(_Piece(share, start, end))
                rows, wanted, start = rows - (end - start), wanted - batch[-1].wanted, end
            if start < count:
                yield batch
                batch, rows, wanted = [], ROWS, WANTED
    if batch:
        yield batch


class Recording:
    """The operations of a pass in order, and the buffers between them: each `(rows, width)`.

    A family's own makes buffers, records its operations, and gives logits in `scores`; token embeddings stand in `x`.
    Tensors that an operation is given live as long as the program.
    """

    x: Place  # the stream of hidden states: where audio tokens are put
    scores: Place  # `(wanted, vocabulary)`

    def __init__(self, layers: int) -> None:
        self.program = native.ready().Program(ROWS, WANTED)
        self._layers = layers  # that own keys and values
        self._record()
        self.logits = torch.from_numpy(self.program.view(self.scores[0]))
        self._x = torch.from_numpy(self.program.view(self.x[0]))

    def _record(self) -> None:
        raise NotImplementedError

    def run(self, batch: Sequence[_Piece]) -> Tensor:
        """One pass: `(wanted, vocabulary)` logits, which the next one writes over."""
        count, row = sum(piece.end - piece.start for piece in batch), 0
        ids, places = np.empty(count, dtype=np.int64), np.empty((count, 2), dtype=np.int64)
        wanted = np.zeros(count, dtype=np.uint8)
        caches = np.empty((len(batch), self._layers, 3), dtype=np.int64)
        for i, piece in enumerate(batch):
            cache, rows = piece.share.part.cache, slice(row, row + piece.end - piece.start)
            ids[rows] = piece.share.ids[piece.start : piece.end]
            places[rows, 0] = i
            places[rows, 1] = np.arange(cache.length, cache.length + piece.end - piece.start)
            wanted[rows.stop - piece.wanted : rows.stop] = 1
            caches[i] = cache.reserve(piece.end - piece.start)
            if (audio := piece.audio) is not None and len(audio):
                self._x[rows][torch.from_numpy(ids[rows] < 0)] = audio.float()
            row = rows.stop
        self.program.run(ids, places, caches, wanted)
        for piece in batch:
            piece.share.part.cache.advance(piece.end - piece.start)
        return self.logits[: int(wanted.sum())]

    def buffer(self, width: int, *, last: bool = False) -> Place:
        """A new one; of a `last` one only rows whose logits are wanted are used."""
        return self.program.buffer(width, last), 0

    def linear(self, x: Place, *products: tuple[Any, Place], add: bool = False) -> None:
        """Linears of one input, biases included; with `add` their outcome is added to what is there."""
        biases = [None if linear.bias is None else linear.bias.float().contiguous() for linear, _ in products]
        self.program.linear(x, [(native.matrix(linear), to) for linear, to in products], biases, add)

    def norm(
        self,
        norm: RMSNorm,
        x: Place,
        to: Place,
        *,
        groups: int = 1,
        width: int | None = None,
        eps: float | None = None,
        add: bool = False,
        scale: float = 1.0,
    ) -> None:
        """to = ((to if add) + norm(x)) * scale, for groups of the norm's width."""
        weight = None if norm.weight is None else norm.weight.float().contiguous()
        width = width or (len(weight) if weight is not None else 0)
        self.program.rms_norm(x, to, width, groups, weight, norm.eps if eps is None else eps, add, scale)

    def table(self, table: Any) -> tuple[Tensor, Tensor, int, int, int]:
        return table.weight, table.scales, table.size, table.width, table.bits
