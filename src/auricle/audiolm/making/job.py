"""One sound being made: the original, what the model adds, and how they are put together, piece by piece."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from auricle.audiolm.codecs import Codec, CodecStream
from auricle.audiolm.making.defaults import MOST_VARIANTS
from auricle.audiolm.making.generating import SEEDS, Codes, Manner, Request, generated, joined
from auricle.audiolm.making.made import Made, Piece, Times
from auricle.audiolm.making.options import Threads
from auricle.audiolm.making.splice import Splice
from auricle.audiolm.model.lm import AudioLM
from auricle.errors import AuricleError, OptionError
from auricle.types import Audio
from auricle.types.checks import require

RUN_IN = 50  # frames that the decoder is given before the seam: its LSTM has no memory of the sound at first
RUN_OUT = 10  # and behind a gap: its convolutions look ahead

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Job:
    """What `Making` does."""

    lm: AudioLM
    codec: Codec
    request: Request
    manner: Manner
    before: NDArray[np.float32]  # kept
    made: int  # samples
    after: NDArray[np.float32]  # kept
    before_codes: Codes  # of the frames up to the seam
    after_codes: Codes  # of the frames behind the last that is made
    fade: int  # samples
    name: str  # of the result
    notes: tuple[str, ...]
    encode_s: float
    threads: Threads  # what work is done in


class Making:
    """Iterated over once, it makes the sound and gives it piece by piece; then `made` is all of it.

    The first piece is original. A piece that is new comes as soon as no later one can change it.
    """

    def __init__(self, job: Job) -> None:
        codec = job.codec
        self._job = job
        lead, tail = job.before_codes[-RUN_IN:], job.after_codes[:RUN_OUT]
        spare = (job.request.frames + len(tail)) * codec.frame - job.made
        self._splice = Splice(job.before, job.made, job.after, lead=len(lead) * codec.frame, spare=spare, fade=job.fade)
        self._lead, self._tail = lead, tail
        self._clock = _Clock(job.threads, job.encode_s)
        self._begun = False
        self._heard: list[NDArray[np.float32]] = []
        self._codes: list[Codes] = []
        self._made: Made | None = None
        self._pieces: Iterator[list[Codes]] | None = None  # made already, in a batch
        self.notes = job.notes  # known before anything is made

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self._job.codec.rate

    @property
    def made(self) -> Made:
        """All of it; what hasn't been iterated over is made now."""
        if self._made is None:
            for _ in self:
                pass
        assert self._made is not None
        return self._made

    def __iter__(self) -> Iterator[Piece]:
        """
        Raises:
            OptionError: it was iterated over before.
            PromptError: the model can't be asked so.
            CancelledError: it was given up.
        """
        if self._begun:
            raise OptionError("this sound has been begun before, and is made once: ask for another")
        self._begun = True
        yield from self._piece(self._splice.opening(), new=False)
        decoder = self._job.codec.stream()
        yield from self._decoded(lambda: decoder.push(self._lead))
        pieces = self._pieces or generated(self._job.lm, self._job.request, self._job.manner)
        while (rows := self._clock.spent("generate", lambda: next(pieces, None))) is not None:
            piece = rows[0]
            self._codes.append(piece)
            yield from self._decoded(lambda piece=piece: decoder.push(piece))  # type: ignore[misc]
        yield from self._last(decoder)

    @property
    def new(self) -> tuple[int, int]:
        """The first sample that is new, and the first that isn't any more."""
        first = len(self._job.before)
        return first, first + self._splice.made

    def variants(self, count: int) -> list[Made]:
        """Several at once: the first has the seed, the next one more, and so on. Instead of iterating.

        Raises:
            OptionError: not even one, or too many for a batch.
            And those of iterating.
        """
        check_count(count)
        job = self._job
        if count > 1 and job.manner.sampling.greedy:
            job = replace(job, notes=(*job.notes, f"the {count} variants are alike: at temperature 0 nothing is drawn"))
        began = time.perf_counter()
        with job.threads():
            rows = list(zip(*generated(job.lm, job.request, job.manner, count), strict=True))
        each_s = (time.perf_counter() - began) / count
        found = []
        for number, pieces in enumerate(rows):
            sampling = replace(job.manner.sampling, seed=(job.manner.seed + number) % SEEDS)
            one = Making(replace(job, manner=replace(job.manner, sampling=sampling)))
            one._pieces, one._clock = iter([piece] for piece in pieces), _Clock(job.threads, job.encode_s, each_s)
            found.append(one.made)
        return found

    def _last(self, decoder: CodecStream) -> Iterator[Piece]:
        job, notes = self._job, list(self._job.notes)
        codes = joined(self._codes, job.codec.codebooks)
        if len(codes) < job.request.frames:
            notes.append(self._ended_early(len(codes)))
        yield from self._decoded(lambda: np.concatenate([decoder.push(self._tail), decoder.finish()]))
        yield from self._piece(self._splice.closing(), new=False)
        rate, (first, end) = self.rate, self.new
        self._made = Made(
            audio=Audio(np.concatenate(self._heard), rate, job.name),
            seams_s=tuple(at / rate for at in self._splice.seams),
            new_s=(first / rate, end / rate),
            codes=codes,
            seed=job.manner.seed,
            times=self._clock.times(),
            notes=tuple(notes),
        )

    def _ended_early(self, frames: int) -> str:
        """Takes the model at its word where nothing follows; a gap has to be filled."""
        job, frame = self._job, self._job.codec.frame
        made_s, asked_s = frames * frame / self.rate, job.made / self.rate
        if len(job.after):
            raise AuricleError(
                f"the model ended the sound after {made_s:.2f} s of a gap of {asked_s:.2f} s: try another --seed"
            )
        self._splice.shorten(frames * frame)
        return f"the model ended the sound after {made_s:.2f} s of the {asked_s:.2f} s asked for"

    def _decoded(self, decode: Callable[[], NDArray[np.float32]]) -> Iterator[Piece]:
        samples = self._splice.push(self._clock.spent("decode", decode))
        yield from self._piece(samples, new=True)

    def _piece(self, samples: NDArray[np.float32], *, new: bool) -> Iterator[Piece]:
        if len(samples):
            if new:
                self._clock.first()
            start = sum(map(len, self._heard))
            self._heard.append(samples)
            yield Piece(samples, start / self.rate, new)


def check_count(count: int) -> None:
    """
    Raises:
        OptionError: so many variants aren't made at once.
    """
    require(
        isinstance(count, int) and 1 <= count <= MOST_VARIANTS,
        *("count", repr(count), f"a whole number from 1 to {MOST_VARIANTS}: more come with another seed"),
    )


class _Clock:
    """Does the work, and knows where the time went, without that of whoever takes the pieces."""

    def __init__(self, threads: Threads, encode_s: float, generate_s: float = 0.0) -> None:
        self._threads = threads
        self._spent = {"encode": encode_s, "generate": generate_s, "decode": 0.0}
        self._first: float | None = None

    def spent(self, what: str, do: Callable[[], _T]) -> _T:
        began = time.perf_counter()
        try:
            with self._threads():
                return do()
        finally:
            self._spent[what] += time.perf_counter() - began

    def first(self) -> None:
        """Something new is there."""
        if self._first is None and self._spent["generate"]:
            self._first = sum(self._spent.values())

    def times(self) -> Times:
        whole = sum(self._spent.values())
        encode, generate, decode = self._spent.values()
        return Times(encode, generate, decode, whole if self._first is None else self._first, whole)
