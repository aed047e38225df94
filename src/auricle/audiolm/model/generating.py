"""Codes from a model: the AR half step by step over a cache, then the NAR half codebook by codebook."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from auricle.audiolm.model.ar import Autoregressive
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.delay import delayed, frames_at, restored
from auricle.audiolm.model.nar import NonAutoregressive
from auricle.audiolm.model.sampling import TokenSampling, draw, guided
from auricle.audiolm.model.stepping import Uncached, cached
from auricle.errors import CancelledError, CheckpointError


@dataclass(frozen=True)
class Run:
    """What both halves need to know of one call."""

    batch: Batch  # target_lens are the frames that are wanted; with guidance, each row a second time without its prompt
    rows: int  # of what is returned
    sampling: TokenSampling
    uniforms: Tensor  # (rows, frames, codebooks, 2)
    cancel: threading.Event | None
    step: Callable[[int], None] | None  # is told how many frames the AR half has

    @property
    def lens(self) -> Tensor:
        """`(rows,)`."""
        return self.batch.target_lens[: self.rows]

    def each(self, rows: Tensor) -> Tensor:
        """As many rows as the batch has."""
        return rows if len(self.batch) == self.rows else torch.cat([rows, rows])

    def logits(self, found: Tensor) -> Tensor:
        """One row for each that is returned."""
        return found if len(self.batch) == self.rows else guided(found, self.sampling.guidance)


def check_cancel(cancel: threading.Event | None) -> None:
    """
    Raises:
        CancelledError: whoever asked has given up.
    """
    if cancel is not None and cancel.is_set():
        raise CancelledError("the generation was cancelled")


def decode(model: Autoregressive, run: Run, *, cache: bool) -> tuple[Tensor, Tensor]:
    """The AR half.

    Returns:
        `(rows, frames, streams)` codes, and `(rows,)` how many frames: fewer than wanted where the model ended.
    """
    config, batch, lens = model.config, run.batch, run.lens
    frames, streams = batch.target_frames, config.streams
    steps = frames + streams - 1
    source = cached(model, batch, steps) if cache else Uncached(model, batch)
    uniforms = delayed(run.uniforms[:, :, :streams], lens, steps, 0.5)
    place = frames_at(steps, streams, lens.device)
    ids = torch.full((run.rows, steps + 1, streams), config.start, device=lens.device)  # what each step reads
    logits = torch.empty(0)
    for at in range(steps):
        check_cancel(run.cancel)
        hidden = source.hidden(run.each(ids[:, : at + 1]))
        logits = torch.stack([_logits(model, run, hidden, stream) for stream in range(streams)], dim=1)
        recent = None
        if run.sampling.repetition_window:
            recent = ids[:, max(1, at + 1 - run.sampling.repetition_window) : at + 1].transpose(1, 2).flatten(0, 1)
        tokens = draw(logits.flatten(0, 1), uniforms[:, at].flatten(0, 1), run.sampling, recent).view(-1, streams)
        if config.predict_end:
            lens = torch.where(tokens[:, 0] == config.end, lens.clamp(max=at), lens)
        there = (place[at] >= 0) & (place[at] < lens[:, None])
        ids[:, at + 1] = torch.where(there, tokens, config.start)
        if run.step is not None and at >= streams - 1:
            run.step(at + 2 - streams)
        if config.predict_end and at + 2 - streams >= int(lens.max()):
            break
    _check(logits)  # what is no number once stays so: keys and values are of it
    return restored(ids[:, 1:], frames), lens


def _logits(model: Autoregressive, run: Run, hidden: Tensor, stream: int) -> Tensor:
    """`(rows, ids)`; where the first stream has an id for the end, the others get one that is never drawn."""
    logits = run.logits(model.ar_logits(hidden, stream))
    return F.pad(logits, (0, 1), value=-torch.inf) if stream and model.config.predict_end else logits


def _check(logits: Tensor) -> None:
    """
    Raises:
        CheckpointError: they are no numbers, as those of damaged weights. An id that can't be drawn has -inf.
    """
    if not bool((logits < torch.inf).all()):
        raise CheckpointError(
            "the model computes what is no number: its weights are damaged, or its numbers too large for their type "
            "(--dtype float32 holds larger ones than float16)"
        )


def refine(model: NonAutoregressive, run: Run, first: Tensor, lens: Tensor) -> Tensor:
    """The NAR half: `(rows, frames)` of codebook 0, of which each row has `lens` -> `(rows, frames, codebooks)`."""
    config, sampling = model.config, run.sampling
    full = run.batch.full_targets and not config.predict_end
    batch = replace(run.batch, target_lens=run.each(lens.clamp(min=1)), full_targets=full)
    codes = [torch.where(first < config.codebook_size, first, 0)]  # what stands past a row's end is no code
    prompt, known = model.nar_prompt(batch), run.each(model.nar_audio_embeddings[0](codes[0]))
    for codebook in range(1, config.num_quantizers):
        check_cancel(run.cancel)
        logits = run.logits(model.nar_logits(model.nar_hidden(batch, prompt, known, codebook), codebook))
        _check(logits)
        if sampling.nar == "greedy":
            found = logits.argmax(-1)
        else:
            found = draw(logits.flatten(0, 1), run.uniforms[:, :, codebook].flatten(0, 1), sampling).view_as(first)
        codes.append(found)
        if codebook + 1 < config.num_quantizers:
            known = known + run.each(model.nar_audio_embeddings[codebook](found))
    return torch.stack(codes, dim=-1)
