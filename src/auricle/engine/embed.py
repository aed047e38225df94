"""Representations: what a model's layers make of sounds, as vectors on the time axis of each.

Sounds are cut into chunks that the model can hear (`joining.py`), chunks of like length are heard in one padded batch,
and only what was asked for is kept: layers are taken on the way, and what a batch gives goes to numpy before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.engine.joining import Chunk, Vectors, chunks_of
from auricle.engine.layers import layers_of, shape_of
from auricle.engine.request import Sound, prompt_of
from auricle.errors import OptionError, SoundError
from auricle.models.family import Family, Part
from auricle.types import Ask, Audio, Embedding, Extraction, HiddenStates, Layers, Message, TokenLabel, VectorKind

Alone = Callable[[], AbstractContextManager[None]]  # `Scheduler.alone`

# Of a batch, at most: clips, and seconds of sound with its padding. More gain nothing on a CPU.
BOUNDS = {"cpu": (16, 120.0)}
BOUNDS_ELSEWHERE = (64, 960.0)
BATCH_BYTES = 256e6  # of the layers taken; a single clip may have more


def embed(family: Family, alone: Alone, audios: Sequence[Audio], extraction: Extraction) -> list[Embedding]:
    """Vectors of sounds at the family's rate. The same list gives the same bits.

    Raises:
        OptionError: a stage, layer or option that the model has no use for.
        SoundError: a sound is too short.
        PromptError: the prompt doesn't fit the model's context.
    """
    work = _Work(family, alone, extraction)
    cut = [work.cut(audio) for audio in audios]
    jobs = [_Job(i, audio, chunk) for i, audio in enumerate(audios) for chunk in cut[i]]
    given: dict[int, list[tuple[int, Vectors]]] = {i: [] for i in range(len(audios))}
    for batch in _batches(jobs, family, work.bytes_per_s):
        for job, vectors in zip(batch, work.run(batch), strict=True):
            given[job.number].append((job.chunk.start, vectors))
    return [work.embedding(audio, given.pop(i)) for i, audio in enumerate(audios)]


def check(family: Family, audio: Audio) -> None:
    """
    Raises:
        SoundError: a sound is too short for a single token.
    """
    try:
        family.check_clip(min(len(audio.samples), int(family.max_clip_seconds * family.rate)))
    except SoundError as error:
        raise SoundError(f"{audio.source}: {error}") from error


def hidden_states(family: Family, alone: Alone, ask: Ask, layers: Layers) -> HiddenStates:
    """What layers of the decoder give for every position of a request's prompt, in one forward pass.

    Raises:
        OptionError: a layer that doesn't exist.
        SoundError, PromptError: as for any request.
    """
    shape = shape_of(family.stages, "llm")
    asked = layers_of(layers, "llm", shape)
    sounds, prompt = prompt_of(family, ask.messages)
    features = [family.features(sound.audio.samples) for sound in sounds]
    with alone():
        audio = torch.cat([family.encode(clip) for clip in features]) if features else None
        part = Part(family.new_cache(observed=True), prompt.ids, audio, wanted=len(prompt.ids))
        values = _numpy(family.read_layers([part], asked)[0])
    labels = tuple(_labels(family, sounds, prompt.ids, shape.step_s))
    return HiddenStates(values, asked, labels, tuple(sound.segment for sound in sounds), ask.notes)


@dataclass(frozen=True)
class _Job:
    """A chunk of one of the sounds."""

    number: int  # of the sound
    audio: Audio
    chunk: Chunk

    @property
    def samples(self) -> NDArray[np.float32]:
        return self.audio.samples[self.chunk.samples]


class _Work:
    """What is done with each chunk."""

    def __init__(self, family: Family, alone: Alone, extraction: Extraction) -> None:
        self.family, self.alone, self.extraction = family, alone, extraction
        stages = family.stages
        self.shape = shape_of(stages, extraction.stage)
        self.layers = layers_of(extraction.layers, extraction.stage, self.shape)
        self.token_s = stages["projector"].step_s
        self.per_token = round(self.token_s / self.shape.step_s)  # vectors; 1 but where the encoder is finer
        if extraction.window is not None and extraction.window < self.shape.step_s:
            raise OptionError(
                f"pooling is {extraction.pooling!r}, and a vector of {extraction.stage!r} covers "
                f"{self.shape.step_s:g} s: a window must be at least that"
            )

    @property
    def bytes_per_s(self) -> float:
        """What is taken of a second of sound, in float32."""
        return 4 * len(self.layers) * self.shape.width / self.shape.step_s

    # --- before

    def cut(self, audio: Audio) -> list[Chunk]:
        """The chunks of a sound, once it is known that it can be embedded."""
        family, extraction = self.family, self.extraction
        check(family, audio)
        token = round(self.token_s * family.rate)
        longest = int(family.max_clip_seconds * family.rate)
        shared = round(extraction.overlap / self.token_s)
        if shared >= longest // token:
            raise OptionError(
                f"overlap is {extraction.overlap:g} s; it must be less than a clip, which has "
                f"{family.max_clip_seconds:g} s"
            )
        chunks = chunks_of(
            len(audio.samples),
            token=token,
            most=longest // token,
            shared=shared,
            longest=longest,
            tokens_of=family.audio_tokens,
        )
        if len(chunks) > 1 and extraction.tokens in ("text", "all"):
            raise OptionError(
                f"{audio.source} is {audio.seconds:.1f} s long and becomes {len(chunks)} clips, each with a prompt of "
                f"its own: use tokens 'audio' or 'last', and not {extraction.tokens!r}"
            )
        return chunks

    # --- a batch

    def run(self, batch: Sequence[_Job]) -> list[Vectors]:
        """Of each job the vectors that count, not yet pooled."""
        features = [self.family.features(job.samples) for job in batch]
        if self.extraction.stage == "llm":
            return self._read(batch, features)
        with self.alone():
            found = self.family.hear_layers(features, self.extraction.stage, self.layers)
            return [self._heard(job, values) for job, values in zip(batch, found, strict=True)]

    def _heard(self, job: _Job, values: Tensor) -> Vectors:
        kept = job.chunk.kept(values.shape[1], self.per_token)
        assert kept.stop <= values.shape[1], f"a chunk gave {values.shape[1]} vectors, and {kept.stop} were promised"
        return self._timed(job, _numpy(values[:, kept]), np.arange(kept.start, kept.stop))

    def _read(self, batch: Sequence[_Job], features: list[NDArray[np.float32]]) -> list[Vectors]:
        extraction, family = self.extraction, self.family
        prompts = [self._prompt(job) for job in batch]
        with self.alone():
            audio = family.hear_layers(features, "projector", (0,))
            parts = [
                Part(
                    family.new_cache(observed=True),
                    ids,
                    tokens[0],
                    wanted=1 if extraction.tokens == "last" else len(ids),
                )
                for ids, tokens in zip(prompts, audio, strict=True)
            ]
            found = family.read_layers(parts, self.layers)
            return [self._chosen(*one) for one in zip(batch, prompts, found, strict=True)]

    def _prompt(self, job: _Job) -> list[int]:
        clip = Audio(job.samples, job.audio.rate, job.audio.source)
        question = self.extraction.prompt
        order = self.extraction.order or self.family.order
        parts = (question, clip) if order == "text-first" else (clip, question)
        return prompt_of(self.family, (Message("user", parts),))[1].ids

    def _chosen(self, job: _Job, ids: list[int], values: Tensor) -> Vectors:
        """Of what the decoder gave for a prompt, the tokens that were asked for."""
        audio = job.audio
        if self.extraction.tokens == "last":
            start, end = (audio.start_s + at / audio.rate for at in (job.chunk.samples.start, job.chunk.samples.stop))
            return Vectors(_numpy(values), np.array([start]), np.array([end]), ("text",))
        heard = np.array(ids) == self.family.placeholder
        if self.extraction.tokens == "audio":
            return self._heard(job, values[:, torch.from_numpy(heard).to(values.device)])
        if self.extraction.tokens == "text":
            nothing = np.full(int((~heard).sum()), np.nan)
            text = values[:, torch.from_numpy(~heard).to(values.device)]
            return Vectors(_numpy(text), nothing, nothing, _all("text", len(nothing)))
        times = np.full((2, len(ids)), np.nan)
        timed = self._timed(job, _numpy(values), np.arange(int(heard.sum())))
        times[:, heard] = timed.start_s, timed.end_s
        kinds: list[VectorKind] = ["audio" if one else "text" for one in heard]
        return Vectors(timed.values, times[0], times[1], tuple(kinds))

    def _timed(self, job: _Job, values: NDArray[np.float32], numbers: NDArray[np.int64]) -> Vectors:
        """Vectors of sound, by their numbers within the chunk; see `types.Embedding`."""
        numbers = numbers + job.chunk.start * self.per_token
        places = np.append(numbers, numbers[-1:] + 1).astype(np.float64)
        times = _seconds(job.audio, places, self.shape.step_s)
        return Vectors(values, times[:-1], times[1:], _all("audio", len(numbers)))

    # --- after

    def embedding(self, audio: Audio, given: list[tuple[int, Vectors]]) -> Embedding:
        """What the chunks of a sound gave, joined, pooled, and of the dtype asked for."""
        extraction = self.extraction
        vectors = Vectors.joined([part for _, part in sorted(given, key=lambda one: one[0])])
        vectors = vectors.pooled(extraction.pooling, extraction.window, audio.start_s)
        with np.errstate(over="ignore"):  # seen to below
            values = vectors.values.astype(extraction.dtype, copy=False)
        if not np.isfinite(values).all():
            raise _not_finite(audio, vectors.values, extraction)
        return Embedding(
            values, self.layers, vectors.start_s, vectors.end_s, vectors.kinds, audio.source, audio.seconds, len(given)
        )


def _batches(jobs: Sequence[_Job], family: Family, bytes_per_s: float) -> Iterator[list[_Job]]:
    """Jobs of like length together, in an order that only the jobs decide."""
    most, seconds = BOUNDS.get(family.device.type, BOUNDS_ELSEWHERE)
    seconds = min(seconds, BATCH_BYTES / bytes_per_s)
    batch: list[_Job] = []
    for job in sorted(jobs, key=lambda job: len(job.samples)):
        if batch and (len(batch) == most or (len(batch) + 1) * len(job.samples) > seconds * family.rate):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _labels(family: Family, sounds: Sequence[Sound], ids: Sequence[int], step_s: float) -> Iterator[TokenLabel]:
    """What stands at each place of a prompt; audio tokens in the order of the clips that they are of."""
    heard = iter([(number, k) for number, sound in enumerate(sounds) for k in range(sound.clip.tokens)])
    for id in ids:
        text = family.codec.decode([id], with_control=True)
        if id != family.placeholder:
            yield TokenLabel("text", text)
            continue
        number, k = next(heard)
        start_s, end_s = _seconds(sounds[number].audio, np.array([k, k + 1], dtype=np.float64), step_s)
        yield TokenLabel("audio", text, number, float(start_s), float(end_s))


def _not_finite(audio: Audio, values: NDArray[np.float32], extraction: Extraction) -> OptionError:
    if not np.isfinite(values).all():
        return OptionError(f"{audio.source}: the model gives numbers that are not finite: load it in another dtype")
    return OptionError(
        f"{audio.source}: a vector of {extraction.stage!r} reaches {np.abs(values).max():g}, and float16 ends at "
        "65504: use float32"
    )


def _seconds(audio: Audio, places: NDArray[np.float64], step_s: float) -> NDArray[np.float64]:
    """Steps from where a sound begins, as seconds in its source; without the crumbs of multiplying by 0.04."""
    return np.round(audio.start_s + places * step_s, 9)


def _all(kind: VectorKind, count: int) -> tuple[VectorKind, ...]:
    return tuple([kind] * count)


def _numpy(values: Tensor) -> NDArray[np.float32]:
    """A copy of its own, so that nothing else that a batch gave stays in memory."""
    return np.array(values.float().cpu().numpy())
