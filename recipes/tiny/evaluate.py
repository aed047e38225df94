"""Stage 4: how good is it, on voices and sentences that it never heard? Through the library, as a user asks."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import auricle
from recipes.tiny import mix

RATE = mix.RATE


def word_errors(wanted: list[str], got: list[str]) -> int:
    """Substitutions, insertions and deletions: the Levenshtein distance over words."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


@dataclass
class Tally:
    """Right answers of so many."""

    right: int = 0
    asked: int = 0

    def add(self, right: bool) -> None:
        self.right += right
        self.asked += 1

    @property
    def percent(self) -> float:
        return 100 * self.right / max(1, self.asked)

    def __str__(self) -> str:
        return f"{self.percent:.1f} % ({self.right} of {self.asked})"


class Evaluation:
    """The held-out clips and a model to ask about them."""

    def __init__(self, model: str, data: Path, limit: int) -> None:
        self.model = auricle.load(model)
        self.data, self.limit = data, limit
        self.speech, self.others = mix.Pool(data, "heldout-speech"), mix.Pool(data, "heldout-other")

    def ask(self, samples: NDArray[np.float32], question: str) -> str:
        return self.model.ask(auricle.Audio(samples, RATE), question, max_tokens=200).text

    def words(self, snr_db: float | None = None, tail_s: float = 0.3) -> dict[str, Any]:
        """Word error rate of "What does the speaker say?".

        Args:
            snr_db: of noise behind the speech; None is clean.
            tail_s: silence after the last word; 0.3 s is what espeak-ng leaves in its files.
        """
        rng = np.random.default_rng(7)
        errors = words = exact = 0
        worst: list[tuple[int, str, str, str]] = []
        clips = self.speech.clips[: self.limit]
        for clip in _progress(clips, "words"):
            samples = np.pad(self.speech.samples(clip), (0, int(tail_s * RATE)))
            if snr_db is not None:
                samples = mix.add_behind(rng, samples, self.others, snr_db, ("noise",)).clip(-1, 1)
            said = self.ask(samples, "What does the speaker say?")
            wrong = word_errors(clip["text"].split(), said.split())
            errors, words, exact = errors + wrong, words + len(clip["text"].split()), exact + (wrong == 0)
            worst.append((wrong, clip["voice"], clip["text"], said))
        worst.sort(reverse=True)
        return {
            "word_error_rate": errors / words,
            "words": words,
            "sentences": len(clips),
            "sentences_exact": exact,
            "worst": worst[:12],
        }

    def kinds(self) -> Tally:
        """What kind of sound is it: speech and the rest, in equal parts of five."""
        tally = Tally()
        per_kind = min(self.limit // 5, *(len(self.others.by_kind[k]) for k in ("music", "tone", "noise", "silence")))
        for kind in ("speech", "music", "tone", "noise", "silence"):
            pool = self.speech if kind == "speech" else self.others
            for clip in _progress(pool.by_kind[kind][:per_kind], kind):
                tally.add(self.ask(pool.samples(clip), "What kind of sound is this?").lower() == kind)
        return tally

    def instruments(self) -> Tally:
        tally = Tally()
        for clip in _progress(self.others.by_kind["music"][: self.limit], "instruments"):
            answer = self.ask(self.others.samples(clip), "What instrument do you hear?")
            tally.add(answer.lower() == clip["instrument"])
        return tally

    def yes_no(self, question: str, truth: Callable[[dict[str, Any]], bool]) -> Tally:
        tally = Tally()
        for pool in (self.speech, self.others):
            for clip in _progress(pool.clips[: self.limit // 2], question):
                answer = self.ask(pool.samples(clip), question)
                tally.add(answer == ("Yes" if truth(clip) else "No"))
        return tally

    def detection(self, seconds: float, container: bool) -> Tally:
        """Is someone speaking, in a crop of this length; alone, or in the middle of 2 s of faint noise."""
        rng = np.random.default_rng(11)
        tally = Tally()
        for pool in (self.speech, self.others):
            for clip in _progress(pool.clips[: self.limit // 2], f"{seconds * 1000:.0f} ms"):
                samples = _loudest(pool.samples(clip), int(seconds * RATE))
                if container:
                    whole = (rng.normal(size=2 * RATE) * 1e-4).astype(np.float32)
                    start = (len(whole) - len(samples)) // 2
                    whole[start : start + len(samples)] += samples
                    samples = whole
                answer = self.ask(samples, "Is someone speaking?")
                tally.add(answer == ("Yes" if pool is self.speech else "No"))
        return tally

    def choice(self) -> Tally:
        tally = Tally()
        for pool in (self.speech, self.others):
            for clip in _progress(pool.clips[: self.limit // 2], "A or B"):
                answer = self.ask(pool.samples(clip), "Choose one: A) SPEECH or B) NONSPEECH.")
                tally.add(answer == ("A) SPEECH" if pool is self.speech else "B) NONSPEECH"))
        return tally


def _loudest(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The stretch of this length around the middle of the clip's loudest 20 ms."""
    if len(samples) <= length:
        return samples
    energy = np.convolve(samples**2, np.ones(320), mode="same")
    start = int(np.clip(energy.argmax() - length // 2, 0, len(samples) - length))
    return samples[start : start + length]


def _progress(clips: list[dict[str, Any]], what: str) -> Iterable[dict[str, Any]]:
    shown = time.monotonic()
    for i, clip in enumerate(clips):
        if time.monotonic() - shown > 10:
            print(f"  {what}: {i} of {len(clips)}", file=sys.stderr, flush=True)
            shown = time.monotonic()
        yield clip


def evaluate(model: str, data: Path, limit: int) -> dict[str, Any]:
    """All measures; `rows` is what the tables show."""
    e = Evaluation(model, data, limit)
    clean, noisy, tight = e.words(), e.words(snr_db=10), e.words(tail_s=0.0)
    rows = [
        _row("word error rate, clean", f"{100 * clean['word_error_rate']:.1f} %", "at most 10 %"),
        _row("sentences without an error, clean", f"{clean['sentences_exact']} of {clean['sentences']}", ""),
        _row("word error rate, noise at 10 dB SNR", f"{100 * noisy['word_error_rate']:.1f} %", ""),
        _row("word error rate, cut off 50 ms after the last word", f"{100 * tight['word_error_rate']:.1f} %", ""),
        _row("kind of sound, of five", str(e.kinds()), "at least 95 %"),
        _row("instrument, of eight", str(e.instruments()), ""),
        _row("is someone speaking, whole clips", str(e.yes_no("Is someone speaking?", _speaks)), "at least 97 %"),
        _row("is there music, whole clips", str(e.yes_no("Is there music?", _plays)), ""),
        _row("is there a piano, whole clips", str(e.yes_no("Is there a piano in this recording?", _piano)), ""),
        _row("A) SPEECH or B) NONSPEECH, whole clips", str(e.choice()), ""),
    ]
    for milliseconds in (20, 40, 60, 80, 100, 200, 500, 1000):
        bar = "at least 97 %" if milliseconds >= 200 else ""
        for container, where in ((False, "alone"), (True, "in 2 s of faint noise")):
            tally = e.detection(milliseconds / 1000, container)
            rows.append(_row(f"is someone speaking, {milliseconds} ms {where}", str(tally), bar))
    return {"rows": rows, "clean": clean, "noisy": noisy, "tight": tight, "limit": limit}


def _speaks(clip: dict[str, Any]) -> bool:
    return "voice" in clip


def _plays(clip: dict[str, Any]) -> bool:
    return clip.get("kind") == "music"


def _piano(clip: dict[str, Any]) -> bool:
    return clip.get("instrument") == "piano"


def _row(measure: str, value: str, bar: str) -> dict[str, str]:
    print(f"{measure:50} {value:24} {bar}", flush=True)
    return {"measure": measure, "value": value, "bar": bar}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--data", type=Path, default=Path("recipes/tiny/work/data"))
    parser.add_argument("--limit", type=int, default=1000, help="clips for each measure")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tiny.json"))
    arguments = parser.parse_args()
    result = evaluate(arguments.model, arguments.data, arguments.limit)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
