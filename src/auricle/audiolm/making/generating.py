"""Codes, window after window."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.audiolm.making.windows import Gap
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling

Codes = NDArray[np.int64]  # (frames, codebooks)
Progress = Callable[[int, int], None]  # frames made, and in all

SEEDS = 2**63
STRIDE = 0x4F1BBCDCBFA53E0B  # between the seeds of pieces: no other piece, of this sound or the next, comes near


@dataclass(frozen=True, eq=False)
class Request:
    """What is generated, and from what."""

    left: Codes  # what is known of before it; of these the last `context` are heard at a time
    context: int
    steps: tuple[int, ...]  # frames of each piece that is made from the left
    style: Codes
    right: Codes  # what is known of after it
    gap: Gap | None = None  # how the last piece is made, if from both sides

    @property
    def frames(self) -> int:
        return sum(self.steps) + (self.gap.together if self.gap else 0)

    def pieces(self) -> Iterator[tuple[int, int, bool]]:
        """Of each: its frames, how many frames before it are heard, and whether those after it are."""
        for step in self.steps:
            yield step, self.context, False
        if self.gap:
            yield self.gap.together, self.gap.left, True

    def prompt(self, known: Codes, frames: int, heard: int, both: bool) -> Prompt:
        """Of a piece, when so much is known of what is before it."""
        right = self.right if both else self.right[:0]
        parts = (known[max(0, len(known) - heard) :], right, self.style)
        left, right_part, style = (torch.from_numpy(part.copy()) for part in parts)
        return Prompt(left=left, right=right_part, style=style, gap=frames if len(right) else 0)


@dataclass(frozen=True, eq=False)
class Manner:
    """How."""

    sampling: TokenSampling  # with a seed
    cache: bool = True
    cancel: threading.Event | None = None
    progress: Progress = lambda done, whole: None

    @property
    def seed(self) -> int:
        assert self.sampling.seed is not None, "one is drawn where none is given"
        return self.sampling.seed


def generated(lm: AudioLM, request: Request, manner: Manner, rows: int = 1) -> Iterator[list[Codes]]:
    """Each piece of a number of sounds, as soon as it is made: `(frames, codebooks)` for each row.

    Row r is what it would be alone with the seed + r. A row whose sound the model has ended gets pieces of no frames.

    Raises:
        PromptError: the model can't be asked so, as without anything to go on from.
        CancelledError: it was given up.
    """
    known, ended, done = [request.left] * rows, [False] * rows, 0
    for number, (frames, heard, both) in enumerate(request.pieces()):
        before = done

        def told(step: int, before: int = before) -> None:
            manner.progress(min(before + step, request.frames), request.frames)

        sampling = replace(manner.sampling, seed=(manner.seed + number * STRIDE) % SEEDS)
        prompts = [request.prompt(row, frames, heard, both) for row in known]
        made = lm.generate(prompts, frames, sampling, cache=manner.cache, cancel=manner.cancel, step=told)
        pieces = [piece.cpu().numpy()[: 0 if over else None] for piece, over in zip(made, ended, strict=True)]
        ended = [over or len(piece) < frames for over, piece in zip(ended, pieces, strict=True)]
        known = [np.concatenate([row, piece]) for row, piece in zip(known, pieces, strict=True)]
        done += frames
        yield pieces
        if all(ended):
            break
    manner.progress(request.frames, request.frames)


def drawn_seed(sampling: TokenSampling) -> TokenSampling:
    """With a seed, so that what comes out can be made again."""
    if sampling.seed is not None:
        return sampling
    return replace(sampling, seed=int(np.random.SeedSequence().generate_state(1)[0]))


def joined(pieces: Sequence[Codes], codebooks: int) -> Codes:
    """All of them."""
    return np.concatenate([np.zeros((0, codebooks), np.int64), *pieces])
