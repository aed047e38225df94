"""Training conversations: a clip, a few questions about it, their answers, and where in the clip each word is heard."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from auricle.models.gemma4.features import FeatureConfig
from recipes.tiny import mix, tasks
from recipes.tiny.tasks import Truth

_FEATURES = FeatureConfig()
RATE = mix.RATE


@dataclass
class Clip:
    """A mixed clip and what it is."""

    mix: mix.Mix
    truth: Truth
    heard: list[int]  # for each word, the first token that names it
    transcript: float  # how often speech is to be written down


@dataclass
class Example:
    """A conversation as token ids, with what is learned from it."""

    clips: list[Clip]
    ids: list[int]
    learned: list[int]  # places in `ids` whose token the model must predict from those before
    looks: list[tuple[int, int, int]] = field(default_factory=list)  # place, first and last place to look at
    decisive: list[int] = field(default_factory=list)  # places of `learned` that say it all: Yes, Music, B, ...
    zeroed: bool = False  # audio tokens are replaced by zeros


def utterance(rng: np.random.Generator, speech: mix.Pool, others: mix.Pool, *, seconds: float | None = None) -> Clip:
    """One spoken sentence with silence around it, sometimes two; or as many as fill `seconds`."""
    pieces = [np.zeros(int(rng.uniform(0, 0.6) * RATE), np.float32)]
    placed: list[mix.Placed] = []
    wanted = 2 if rng.random() < 0.12 else 1
    position = len(pieces[0])
    while True:
        clip = speech.clips[rng.integers(len(speech.clips))]
        if seconds is not None and position + clip["samples"] > seconds * RATE:
            break
        placed.append(mix.Placed(clip, position))
        pause = np.zeros(int(rng.uniform(0.15, 0.8) * RATE), np.float32)
        pieces += [speech.samples(clip), pause]
        position += clip["samples"] + len(pause)
        if seconds is None and len(placed) == wanted:
            break
    if rng.random() < 0.7:  # many a recording ends with its last word
        pieces[-1] = pieces[-1][: max(0, int(rng.uniform(-0.1, 0.15) * RATE))]
    samples = np.concatenate(pieces) * np.float32(10 ** (rng.uniform(-15, 0) / 20))
    snr, transcript = None, 0.75
    if rng.random() < 0.35:
        snr = float(rng.uniform(5, 30))
        if rng.random() < 0.2:
            samples = mix.add_behind(rng, samples, others, snr, ("music",))
            transcript = 1.0  # what plays behind the words is not asked about
        else:
            samples = mix.add_behind(rng, samples, others, snr, ("noise",))
    samples = _faint(rng, samples)
    samples = samples * np.float32(min(1.0, 0.99 / (np.abs(samples).max() + 1e-9)))
    tokens = _FEATURES.tokens(len(samples))
    words, heard = [], []
    for item in placed:
        for word, _, end in item.clip["words"]:
            words.append(word)
            heard.append(min(tokens - 1, (item.start + end + mix.WORD_DELAY) // mix.TOKEN))
    return Clip(mix.Mix(samples, placed, snr), Truth("speech", " ".join(words)), heard, transcript)


def sound(rng: np.random.Generator, others: mix.Pool) -> Clip:
    """Music, a tone, noise or silence."""
    kind = str(rng.choice(["music", "music", "tone", "noise", "silence"]))
    clip = others.by_kind[kind][rng.integers(len(others.by_kind[kind]))]
    samples = others.samples(clip)
    length = min(len(samples), int(np.exp(rng.uniform(np.log(0.2), np.log(6.0))) * RATE))
    at = 0 if rng.random() < 0.5 else int(rng.integers(0, len(samples) - length + 1))
    piece = samples[at : at + length]
    if kind != "silence" and mix.level(piece) < 0.1 * mix.level(samples):
        return sound(rng, others)  # a gap between clicks is no noise
    return _without_words(rng, piece, clip)


def crop(rng: np.random.Generator, speech: mix.Pool, others: mix.Pool) -> Clip:
    """20 ms to 1 s of something, alone or in the middle of 2 s of faint noise."""
    length = int(np.exp(rng.uniform(np.log(0.02), np.log(1.0))) * RATE)
    if rng.random() < 0.5:
        clip = speech.clips[rng.integers(len(speech.clips))]
        whole = speech.samples(clip)
    else:
        kind = str(rng.choice(["music", "tone", "noise", "silence"]))
        clip = others.by_kind[kind][rng.integers(len(others.by_kind[kind]))]
        whole = others.samples(clip)
    for _ in range(10):  # a stretch that sounds, where there is one
        at = int(rng.integers(0, max(1, len(whole) - length)))
        piece = whole[at : at + length]
        if clip.get("kind") == "silence" or mix.level(piece) > 0.3 * mix.level(whole):
            break
    clip = {key: clip[key] for key in ("kind", "instrument") if key in clip} | {"samples": len(piece)}
    return _without_words(rng, piece, clip, container=rng.random() < 0.6)


def pair(rng: np.random.Generator, speech: mix.Pool, others: mix.Pool) -> list[Clip]:
    """Two clips of which one is louder, by 5 dB or more over what sounds in them."""
    clips = [utterance(rng, speech, others) if rng.random() < 0.5 else sound(rng, others) for _ in range(2)]
    if any(clip.truth.kind == "silence" or not np.abs(clip.mix.samples).max() > 1e-3 for clip in clips):
        return pair(rng, speech, others)
    low = rng.uniform(-40, -16)
    levels = rng.permutation([low, low + rng.uniform(5, -10 - low)])
    for clip, wanted in zip(clips, levels, strict=True):
        gain = 10 ** (wanted / 20) / loudness(clip.mix.samples)
        clip.mix.samples = (clip.mix.samples * np.float32(gain)).clip(-1, 1)
    return clips


def loudness(samples: NDArray[np.float32]) -> float:
    """The level of what sounds: silence around it doesn't count."""
    return mix.level(samples[np.abs(samples) > 0.05 * np.abs(samples).max()])


def _without_words(
    rng: np.random.Generator, samples: NDArray[np.float32], clip: dict[str, object], *, container: bool = False
) -> Clip:
    kind = str(clip.get("kind", "speech"))
    if kind != "silence":
        samples = samples * np.float32(10 ** (rng.uniform(-24, 0) / 20))
    start = 0
    if container:
        whole = np.zeros(2 * RATE, np.float32)
        start = (len(whole) - len(samples)) // 2
        whole[start : start + len(samples)] = samples
        samples = whole
    samples = _faint(rng, samples, always=container and rng.random() < 0.8)
    placed = [mix.Placed({**clip, "samples": len(samples) - 2 * start}, start)]
    truth = Truth(kind, instrument=clip.get("instrument"))  # type: ignore[arg-type]
    return Clip(mix.Mix(samples, placed, None), truth, [], 0.0)


def _faint(rng: np.random.Generator, samples: NDArray[np.float32], always: bool = False) -> NDArray[np.float32]:
    """Noise of -100 to -60 dBFS, as recordings have it."""
    if not always and rng.random() < 0.6:
        return samples
    return samples + (rng.normal(size=len(samples)) * 10 ** rng.uniform(-5, -3)).astype(np.float32)


class Writer:
    """Writes conversations as token ids."""

    AUDIO = 7  # ids of recipes.tiny.tokenizer.SPECIAL
    BOS, TURN, END_TURN, BEGIN_AUDIO, END_AUDIO = 2, 4, 5, 6, 8

    def __init__(self, tokenizer: object) -> None:
        self._encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]
        self._user, self._model = self._encode("user\n"), self._encode("model\n")
        self._newline = self._encode("\n")

    def write(self, rng: np.random.Generator, clips: list[Clip]) -> Example:
        """One to three questions about one clip; several clips are transcribed, or the louder one is asked for."""
        example = Example(clips, [self.BOS], [])
        example.zeroed = rng.random() < 0.015
        shares = [0.6, 0.25, 0.15] if clips[0].heard else [0.2, 0.3, 0.5]  # few words leave room for more questions
        turns = 1 if len(clips) > 1 else int(rng.choice([1, 2, 3], p=shares))
        for turn in range(turns):
            question, answer, looks = self._question(rng, clips)
            if example.zeroed:
                answer, looks = tasks.NOTHING, False
            self._turn(rng, example, question, answer, clips if turn == 0 else [], looks)
        return example

    def _question(self, rng: np.random.Generator, clips: list[Clip]) -> tuple[str, str, bool]:
        if len(clips) == 1:
            return tasks.ask(rng, clips[0].truth, transcript=clips[0].transcript)
        if not all(clip.heard for clip in clips) or rng.random() < 0.3:
            first, second = (loudness(clip.mix.samples) for clip in clips)
            return *tasks.louder(rng, first > second), False
        return tasks.ask(rng, Truth("speech", " ".join(clip.truth.text for clip in clips)), transcript=1.0)

    def _turn(
        self, rng: np.random.Generator, example: Example, question: str, answer: str, clips: list[Clip], looks: bool
    ) -> None:
        ids = example.ids
        ids += [self.TURN, *self._user]
        text_first = rng.random() < 0.85
        if text_first:
            ids += self._encode(question)
        for clip in clips:
            tokens = _FEATURES.tokens(len(clip.mix.samples))
            ids += [self.BEGIN_AUDIO, *[self.AUDIO] * tokens, self.END_AUDIO]
        if not text_first:
            ids += self._encode(question)
        ids += [self.END_TURN, *self._newline, self.TURN, *self._model]
        start = len(ids)
        ids += [*self._encode(answer), self.END_TURN]
        example.learned += range(start, len(ids))
        if looks:
            self._guide(example, len(ids) - 1)
        else:
            example.decisive.append(start)
        ids += self._newline

    def _guide(self, example: Example, end: int) -> None:
        """Where to look while each word of the transcript that ends before `end` is to be predicted."""
        first, spans = 0, []
        for clip in example.clips:
            first = example.ids.index(self.BEGIN_AUDIO, first) + 1
            tokens = _FEATURES.tokens(len(clip.mix.samples))
            for heard, following in zip(clip.heard, [*clip.heard[1:], tokens], strict=True):
                spans.append((first + heard, first + max(heard, min(heard + 5, following - 1))))
            first += tokens
        spans.append((first, first))  # the end of the last clip: nothing more was said
        place = end - len(spans)
        for i, (low, high) in enumerate(spans):
            example.looks.append((place + i, low, high))
