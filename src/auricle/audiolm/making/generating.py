"""Codes, window after window."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.audiolm.making.choosing import prompt_of_tries, the_likeliest
from auricle.audiolm.making.defaults import MOST_TRIES
from auricle.audiolm.making.windows import Gap
from auricle.audiolm.model.generating import check_cancel
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling

Codes = NDArray[np.int64]  # (frames, codebooks)
Progress = Callable[[int, int], None]  # frames made, and in all

DRAWING = 0.7  # of the time that tries take, about: then they are judged
SEEDS = 2**63
STRIDE = 0x4F1BBCDCBFA53E0B  # between the seeds of pieces: no other piece, of this sound or the next, comes near


@dataclass(frozen=True)
class Turn:
    """One call of the model: which piece it makes, and what it hears."""

    number: int
    before: int  # frames made until then
    frames: int
    heard: int  # frames before it that are heard
    both: bool  # whether those after it are


@dataclass(frozen=True, eq=False)
class Request:
    """What is generated, and from what."""

    left: Codes  # what is known of before it; of these the last `context` are heard at a time
    context: int
    steps: tuple[int, ...]  # frames of each piece that is made from the left
    style: Codes
    right: Codes  # what is known of after it
    gap: Gap | None = None  # how the last piece is made, if from both sides
    tries: int = 1  # of that piece, the one kept that what follows fits best

    @property
    def frames(self) -> int:
        return sum(self.steps) + (self.gap.together if self.gap else 0)

    def turns(self) -> Iterator[Turn]:
        """What the model is asked for, one after the other."""
        for number, step in enumerate(self.steps):
            yield Turn(number, sum(self.steps[:number]), step, self.context, both=False)
        if self.gap:
            yield Turn(len(self.steps), sum(self.steps), self.gap.together, self.gap.left, both=True)

    def prompt(self, known: Codes, turn: Turn) -> Prompt:
        """Of a turn, when so much is known of what is before it."""
        right = self.right if turn.both else self.right[:0]
        parts = (known[max(0, len(known) - turn.heard) :], right, self.style)
        left, right_part, style = (torch.from_numpy(part.copy()) for part in parts)
        return Prompt(left=left, right=right_part, style=style, gap=turn.frames if len(right) else 0)


@dataclass(frozen=True, eq=False)
class Manner:
    """How codes are drawn, and who may give that up or is told of progress."""

    sampling: TokenSampling  # with a seed
    cancel: threading.Event | None = None
    progress: Progress = lambda done, whole: None

    @property
    def seed(self) -> int:
        assert self.sampling.seed is not None, "one is drawn where none is given"
        return self.sampling.seed

    def sampled(self, seed: int, turn: Turn) -> TokenSampling:
        """With the seed of a turn."""
        return replace(self.sampling, seed=(seed + turn.number * STRIDE) % SEEDS)


def generated(lm: AudioLM, request: Request, manner: Manner, rows: int = 1) -> Iterator[list[Codes]]:
    """Each piece of a number of sounds, as soon as it is made: `(frames, codebooks)` for each row.

    Row r is what it would be alone with the seed + r; in bfloat16 but for rounding, as products are, which may now and
    then draw another code. A row whose sound the model has ended gets pieces of no frames.

    Raises:
        PromptError: the model can't be asked so, as without anything to go on from.
        CancelledError: it was given up.
    """
    known, ended = [request.left] * rows, [False] * rows
    for turn in request.turns():
        draw = _chosen if turn.both and request.tries > 1 else _drawn
        made = draw(lm, [request.prompt(row, turn) for row in known], request, manner, turn)
        pieces = [piece.cpu().numpy()[: 0 if over else None] for piece, over in zip(made, ended, strict=True)]
        ended = [over or len(piece) < turn.frames for over, piece in zip(ended, pieces, strict=True)]
        known = [np.concatenate([row, piece]) for row, piece in zip(known, pieces, strict=True)]
        yield pieces
        if all(ended):
            break
    manner.progress(request.frames, request.frames)


def _drawn(lm: AudioLM, prompts: Sequence[Prompt], request: Request, manner: Manner, turn: Turn) -> list[Tensor]:
    """All rows in one batch."""

    def told(step: int) -> None:
        manner.progress(min(turn.before + step, request.frames), request.frames)

    sampling = manner.sampled(manner.seed, turn)
    return lm.generate(prompts, turn.frames, sampling, cancel=manner.cancel, step=told)


def _chosen(lm: AudioLM, prompts: Sequence[Prompt], request: Request, manner: Manner, turn: Turn) -> list[Tensor]:
    """Row after row: its tries are one batch, of which one is kept."""
    found: list[Tensor] = []

    def told(share: float) -> None:
        """Of the next row so much is done."""
        check_cancel(manner.cancel)
        made = turn.before + int(turn.frames * (len(found) + share) / len(prompts))
        manner.progress(min(made, request.frames), request.frames)

    def drawn(step: int) -> None:
        told(DRAWING * step / turn.frames)

    for prompt in prompts:
        # MOST_TRIES apart, lest a row has all but one of the tries of the row before.
        sampling = manner.sampled((manner.seed + len(found)) * MOST_TRIES, turn)
        asked = [prompt_of_tries(prompt)] * request.tries
        tries = lm.generate(asked, turn.frames, sampling, cancel=manner.cancel, step=drawn)
        judged = the_likeliest(lm, prompt, tries, lambda done, of: told(DRAWING + (1 - DRAWING) * done / of))
        found.append(judged)
    return found


def with_seed(sampling: TokenSampling) -> TokenSampling:
    """With a seed, so that what comes out can be made again."""
    if sampling.seed is not None:
        return sampling
    return replace(sampling, seed=int(np.random.SeedSequence().generate_state(1)[0]))


def joined(pieces: Sequence[Codes], codebooks: int) -> Codes:
    """Of all pieces, one after the other: `(frames, codebooks)`."""
    return np.concatenate([np.zeros((0, codebooks), np.int64), *pieces])
