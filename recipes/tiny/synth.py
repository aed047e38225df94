"""Write the training data of the tiny model: spoken sentences with their alignment, and sounds that are no speech.

    python -m recipes.tiny.synth --out recipes/tiny/work/data --speech 60000 --other 8000 --seed 1
    python -m recipes.tiny.synth --out recipes/tiny/work/data --heldout

A shard of up to 2000 clips is two files. `NAME.npy` holds int16 samples at 16 kHz, all clips one after the other
(open it with `mmap_mode="r"`); `NAME.jsonl` has a line a clip, every position in samples:

    speech-00000  {"start", "samples", "text", "words": [[word, start, end], ...],
                   "phonemes": [[name, start], ...], "voice", "split"}
    other-00000   {"start", "samples", "kind": music | tone | noise | silence, "instrument": name or null, "split"}

`start` counts from the start of the shard, the positions of words and phonemes from the start of the clip. A word ends
where the next one starts, or where a pause does. A phoneme ends where the next one starts; names that start with "_"
are pauses, ";" is a glide. `phonemes.json` lists the names seen.

A shard's contents depend on the seed and its number only. One that exists is skipped, so the command may be
stopped and started again.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soxr

from . import espeak, sentences, voices

SHARD = 2000  # clips
RATE = 16000
MARGIN_S = 0.05  # silence kept before and after the speech
HELD_OUT_SPEECH, HELD_OUT_OTHER = 1000, 600
# Part of the random seed, so that no two kinds of shard share their draws.
STREAMS = {"speech": 0, "other": 1, "heldout-speech": 2, "heldout-other": 3}


@dataclass(frozen=True)
class SpeechClip:
    """A spoken sentence. Positions are samples at 16 kHz from the clip's start."""

    audio: np.ndarray  # (samples,) int16
    text: str
    words: list[tuple[str, int, int]]  # word, start, end
    phonemes: list[tuple[str, int]]  # name, start
    voice: str


@dataclass(frozen=True)
class OtherClip:
    """A sound that is no speech."""

    audio: np.ndarray  # (samples,) int16
    kind: str
    instrument: str | None


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] to int16."""
    result: np.ndarray = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)
    return result


def _sounds(phonemes: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Phonemes without pauses and glides."""
    return [(name, start) for name, start in phonemes if name != ";" and not name.startswith("_")]


@functools.cache
def phoneme_count(word: str) -> int:
    """How many phonemes a word has alone."""
    return len(_sounds(espeak.speak(word, "en").phonemes))


def word_starts(text: str, speech: espeak.Speech) -> list[tuple[str, float]]:
    """Pair the words of a text with espeak's word events: word and start in seconds.

    espeak says some pairs as one word with one event ("on the", "there was", "do not"): their span is shared out by
    the number of phonemes that each word has alone.
    """
    events = {offset: start for offset, start in reversed(speech.words) if offset >= 0}
    phonemes = _sounds(speech.phonemes)
    groups: list[tuple[float, list[str]]] = []
    offset = 0
    for word in text.split(" "):
        if offset in events and (not groups or events[offset] > groups[-1][0]):
            groups.append((events[offset], [word]))
        elif groups:
            groups[-1][1].append(word)
        else:
            groups.append((0.0, [word]))
        offset += len(word) + 1

    result = []
    for i, (start, words) in enumerate(groups):
        result.append((words[0], start))
        if len(words) == 1:
            continue
        end = groups[i + 1][0] if i + 1 < len(groups) else float("inf")
        # A few milliseconds of slack: events are rounded.
        inside = [begin for _, begin in phonemes if start - 0.005 <= begin < end - 0.005]
        counts = np.cumsum([phoneme_count(word) for word in words])
        for word, before in zip(words[1:], counts[:-1] / counts[-1], strict=True):
            result.append((word, inside[round(before * len(inside))]))
    return result


def spoken(text: str, delivery: voices.Delivery) -> SpeechClip | None:
    """Speak a sentence and trim the silence around it; None where its words cannot be timed."""
    speech = espeak.speak(text, **asdict(delivery))
    loud = np.flatnonzero(np.abs(speech.samples) > 0.01 * np.abs(speech.samples).max(initial=1e-6))
    if not len(loud) or not speech.phonemes:
        return None
    starts = word_starts(text, speech)
    first = max(0.0, loud[0] / speech.rate - MARGIN_S)
    last = min(len(speech.samples) / speech.rate, loud[-1] / speech.rate + MARGIN_S)
    audio = soxr.resample(speech.samples[round(first * speech.rate) : round(last * speech.rate)], speech.rate, RATE)

    def position(seconds: float) -> int:
        return min(max(round((seconds - first) * RATE), 0), len(audio))

    pauses = [start for name, start in speech.phonemes if name.startswith("_")]
    words = []
    for i, (word, start) in enumerate(starts):
        limit = starts[i + 1][1] if i + 1 < len(starts) else last
        end = min([limit, *(pause for pause in pauses if pause > start)])
        words.append((word, position(start), position(end)))
    if any(start >= end for _, start, end in words):
        return None
    phonemes = [(name, position(start)) for name, start in speech.phonemes if start < last]
    return SpeechClip(to_int16(audio), text, words, phonemes, delivery.voice)


def speech_clips(rng: np.random.Generator, split: str) -> Iterator[SpeechClip]:
    """Clips of a split without end. Six in ten of the held-out ones say a sentence of the hand-written list."""
    while True:
        if split == "heldout" and rng.random() < 0.6:
            text = str(rng.choice(sentences.heldout_list()))
        else:
            text = sentences.sentence(rng, split)
        clip = spoken(text, voices.delivery(rng, split))
        if clip is not None:
            yield clip


def other_clips(rng: np.random.Generator) -> Iterator[OtherClip]:
    """Music, tones, noise and silence without end."""
    from . import sounds

    while True:
        sound = sounds.draw(rng)
        yield OtherClip(to_int16(sound.samples), sound.kind, sound.instrument)


def write_shard(path: Path, clips: Iterator[SpeechClip | OtherClip], count: int, split: str) -> None:
    """Write `count` clips to `path` + .npy and .jsonl, whole or not at all."""
    audio: list[np.ndarray] = []
    position = 0
    lines = path.with_suffix(".jsonl.tmp")
    with lines.open("w") as file:
        for _, clip in zip(range(count), clips, strict=False):
            record = {"start": position, "samples": len(clip.audio)}
            record |= {name: value for name, value in vars(clip).items() if name != "audio"} | {"split": split}
            file.write(json.dumps(record) + "\n")
            audio.append(clip.audio)
            position += len(clip.audio)
    samples = path.with_suffix(".npy.tmp")
    with samples.open("wb") as file:
        np.save(file, np.concatenate(audio))
    samples.rename(path.with_suffix(".npy"))
    lines.rename(path.with_suffix(".jsonl"))  # last: a reader that sees it finds the samples


def make_shard(job: tuple[str, int, int], out: Path, seed: int) -> str:
    """Write one shard: `job` is its kind (a key of STREAMS), its number, and how many clips. Returns its name."""
    kind, number, count = job
    held_out = kind.startswith("heldout")
    name = kind if held_out else f"{kind}-{number:05d}"
    path = out / name
    if path.with_suffix(".jsonl").exists():
        return name
    rng = np.random.default_rng([seed, STREAMS[kind], number])
    split = "heldout" if held_out else "train"
    write_shard(path, speech_clips(rng, split) if "speech" in kind else other_clips(rng), count, split)
    return name


def jobs(kind: str, clips: int) -> list[tuple[str, int, int]]:
    """Shards of at most SHARD clips: kind, number, how many."""
    return [(kind, i, min(SHARD, clips - i * SHARD)) for i in range(-(-clips // SHARD))]


def survey_phonemes(seed: int) -> set[str]:
    """Phoneme names of every word alone and of some sentences in every accent: nearly all, before the first shard."""
    rng = np.random.default_rng([seed, 4])
    names: set[str] = set()
    for accent in voices.ACCENTS:
        for text in [*sentences.vocabulary(), *(sentences.sentence(rng) for _ in range(200))]:
            names.update(name for name, _ in espeak.speak(text, accent).phonemes)
    return names


def add_phonemes(path: Path, names: set[str]) -> None:
    """Add names to the inventory, a sorted JSON list."""
    known = set(json.loads(path.read_text())) if path.exists() else set()
    if names - known:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(sorted(known | names)))
        temporary.rename(path)


def shard_phonemes(path: Path) -> set[str]:
    """Phoneme names in a speech shard's .jsonl."""
    return {name for line in path.open() for name, _ in json.loads(line)["phonemes"]}


def make(out: Path, *, speech: int, other: int, heldout: bool = True, seed: int = 1, processes: int = 2) -> None:
    """Write what is missing: `speech` spoken clips, `other` other sounds, and the held-out sets."""
    out.mkdir(parents=True, exist_ok=True)
    inventory = out / "phonemes.json"
    if not inventory.exists():
        add_phonemes(inventory, survey_phonemes(seed))
    todo = []
    if heldout:
        todo += jobs("heldout-speech", HELD_OUT_SPEECH) + jobs("heldout-other", HELD_OUT_OTHER)
    todo += jobs("speech", speech) + jobs("other", other)
    # A process of its own for each worker: the library's state does not survive a fork.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for name in pool.imap_unordered(partial(make_shard, out=out, seed=seed), todo):
            if "speech" in name:
                add_phonemes(inventory, shard_phonemes(out / f"{name}.jsonl"))
            print(f"{name} done", flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write the training data of the tiny model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--speech", type=int, default=0, metavar="CLIPS", help="spoken sentences to have")
    parser.add_argument("--other", type=int, default=0, metavar="CLIPS", help="other sounds to have")
    parser.add_argument("--heldout", action="store_true", help="write the held-out sets too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    os.nice(10)
    make(
        args.out,
        speech=args.speech,
        other=args.other,
        heldout=args.heldout,
        seed=args.seed,
        processes=args.processes,
    )


if __name__ == "__main__":
    main()
