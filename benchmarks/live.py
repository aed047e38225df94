"""Live, again and several at once, on Gemma 4 E2B's full size in int4: what the live session, the caches and the
scheduler are for.

    python -m benchmarks.live

- live: 30 s of sound are fed at the speed of a microphone; how long after the last sample the first token is there.
- again: a second question about 30 s of sound, and a next turn, against the first: times to the first token.
- at once: four answers together against one alone, in tokens a second; and how long the next token of an answer under
  way takes while another request with 30 s of sound comes in.
- score: five one-word choices, against reading the prompt alone.

Random weights (`--work` says where they are kept). Every round has sounds of its own, so that nothing is remembered
that should not be. Close everything else first. `--preset small` tries the script in seconds; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import auricle
from auricle.backends.native import NativeBackend
from auricle.bench import machine
from auricle.bench.engines import QUESTION, RATE
from auricle.bench.making import SCHEMES, default_work, make
from auricle.bench.presets import PRESETS
from auricle.types import Answer, Audio, Message, Scheduling
from benchmarks import tables

SECONDS = 30.0
BLOCK_S = 0.1  # of sound, as a microphone gives it
TOGETHER = 4
# Words that are one token each in the tokenizer of random weights, as words are in the released one.
OTHER_QUESTION = "What does the speaker in this recording say?"
REPLY = "What does the speaker say? What does the speaker say in this?"
CHOICES = (" the", " speaker", " say", " this", " recording")


class Bench:
    """One model, and sounds that it never heard before."""

    def __init__(self, folder: Path, threads: int, seconds: float, tokens: int) -> None:
        self.model = auricle.load(str(folder), threads=threads, cache_mb=256, scheduling=Scheduling(max_running=8))
        assert isinstance(self.model.backend, NativeBackend)
        self.family, self.scheduler = self.model.backend.family, self.model.backend.scheduler
        self._stop_ids = self.family.stop_ids
        self.family.stop_ids = frozenset()  # random weights stop anywhere
        self.seconds, self.tokens = seconds, tokens
        self._random = np.random.default_rng(0)

    def sound(self) -> Audio:
        count = round(self.seconds * RATE)
        return Audio((self._random.standard_normal(count) * 0.1).astype(np.float32), RATE, "noise")

    def live(self) -> dict[str, float]:
        """A microphone's blocks, each when it would be there."""
        samples, size = self.sound().samples, round(BLOCK_S * RATE)
        spent, late = [], 0.0
        with self.model.listen(QUESTION, max_tokens=4) as session:
            begun = time.perf_counter()
            for start in range(0, len(samples), size):
                block = samples[start : start + size]
                there = begun + (start + len(block)) / RATE
                time.sleep(max(0.0, there - time.perf_counter()))
                fed = time.perf_counter()
                session.feed(block)
                spent.append(time.perf_counter() - fed)
                late = max(late, time.perf_counter() - there)
            asked = time.perf_counter()
            answer = session.answer()
        encoder = self._encoder_s(samples)
        return {
            "first_token_after_last_sample_s": asked - there + answer.timings.ttft_s,
            "longest_step_s": max(spent),
            "most_behind_s": late,
            "real_time_factor": sum(spent) / self.seconds,
            "encoder_real_time_factor": encoder / self.seconds,
        }

    def again(self, order: str) -> dict[str, float]:
        """Two questions about one sound."""
        sound = self.sound()
        first = self.model.ask(sound, QUESTION, order=order, max_tokens=2)  # type: ignore[arg-type]
        second = self.model.ask(sound, OTHER_QUESTION, order=order, max_tokens=2)  # type: ignore[arg-type]
        return _ratio(first, second)

    def turns(self) -> dict[str, float]:
        """A question, and the next one after its answer."""
        begun = Message("user", (QUESTION, self.sound()))
        later = [begun, Message("assistant", (REPLY,)), Message("user", (OTHER_QUESTION,))]
        first, second = (list(self.model.chat(turns, max_tokens=2))[-1].answer for turns in ([begun], later))
        assert first is not None
        assert second is not None
        return _ratio(first, second)

    def at_once(self) -> dict[str, float]:
        """Answers about sounds of their own, alone and together: tokens a second of all of them."""
        sounds = [self.sound() for _ in range(TOGETHER)]
        for sound in sounds:  # heard and read before: what is compared is answering
            self.model.ask(sound, QUESTION, order="audio-first", max_tokens=1)
        alone = self._speed(sounds[:1])
        together = self._speed(sounds)
        return {"alone_tokens_per_s": alone, "together_tokens_per_s": together, "times": together / alone}

    def newcomer(self) -> dict[str, float]:
        """Seconds from token to token of an answer, alone and while another request comes in."""
        running = self.model.stream(self.sound(), QUESTION, max_tokens=3 * self.tokens)
        other = self.model.stream(self.sound(), QUESTION, max_tokens=2)
        with self._passes() as alone:
            while len(alone) < 1 + self.tokens:
                next(running)
        with self._passes() as together:
            for _ in other:
                pass
        running.close()
        usual = median(np.diff(alone[1:]))
        longest = max(np.diff([alone[-1], *together]))
        return {"usual_s": usual, "longest_s": longest, "delay_s": longest - usual}

    def score(self) -> dict[str, float]:
        """Five choices, against the prompt alone."""
        sound = self.sound()
        self.family.stop_ids = self._stop_ids  # a choice's end counts
        begun = time.perf_counter()
        scores = self.model.score(sound, CHOICES, QUESTION)
        whole = time.perf_counter() - begun
        self.family.stop_ids = frozenset()
        assert all(len(choice.tokens) == 1 for choice in scores.choices)
        timings = scores.timings
        rest = whole - timings.ttft_s
        return {
            "prefill_s": timings.prefill_s,
            "prompt_s": timings.ttft_s,
            "choices_s": rest,
            "times_prefill": (timings.prefill_s + rest) / timings.prefill_s,
            "times_prompt": whole / timings.ttft_s,
        }

    def _encoder_s(self, samples: Any) -> float:
        """The encoder alone, in steps of a live session."""
        ear, size = self.family.ear(), round(0.5 * RATE)
        assert ear is not None
        begun = time.perf_counter()
        for start in range(0, len(samples), size):
            ear.hear(samples[start : start + size], last=start + size >= len(samples))
        return time.perf_counter() - begun

    def _speed(self, sounds: list[Audio]) -> float:
        """Tokens a second from the first one that anybody gets to the last one."""
        with self._passes() as times:
            asks = [(sound, OTHER_QUESTION) for sound in sounds]
            answers = list(self.model.ask_many(asks, order="audio-first", max_tokens=self.tokens))
        assert all(isinstance(answer, Answer) and len(answer.tokens) == self.tokens for answer in answers)
        return len(sounds) * (self.tokens - 1) / (times[-1] - times[0])

    @contextmanager
    def _passes(self) -> Iterator[list[float]]:
        """When passes that gave somebody a token were over."""
        times: list[float] = []
        read = self.family.read

        def timed(parts: Any) -> Any:
            logits = read(parts)
            if any(part.wanted for part in parts):
                times.append(time.perf_counter())
            return logits

        self.family.read = timed  # type: ignore[method-assign]
        try:
            yield times
        finally:
            self.family.read = read  # type: ignore[method-assign]


def _ratio(first: Answer, second: Answer) -> dict[str, float]:
    return {
        "first_ttft_s": first.timings.ttft_s,
        "second_ttft_s": second.timings.ttft_s,
        "times_shorter": first.timings.ttft_s / second.timings.ttft_s,
        "reused_tokens": second.reused_tokens,
        "reused_clips": second.reused_clips,
    }


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    load_average = machine.load_average()
    bench = Bench(make(options.preset, options.scheme, options.work), options.threads, options.seconds, options.tokens)
    measures = {
        "live": bench.live,
        "audio_first": lambda: bench.again("audio-first"),
        "text_first": lambda: bench.again("text-first"),
        "next_turn": bench.turns,
        "at_once": bench.at_once,
        "newcomer": bench.newcomer,
        "score": bench.score,
    }
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in measures}
    rates = []
    for number in range(options.runs + 1):
        rates.append(machine.memory_gb_per_s(options.threads))
        for name, measure in measures.items():
            found = measure()
            if number:  # the first round warms up
                rounds[name].append(found)
            print(number, name, {key: round(value, 3) for key, value in found.items()}, flush=True)
    medians = {name: {key: median(one[key] for one in found) for key in found[0]} for name, found in rounds.items()}
    result = {
        "benchmark": "live",
        **machine.describe(options.threads),
        "settings": {
            "preset": options.preset,
            "scheme": options.scheme,
            "seconds": options.seconds,
            "tokens": options.tokens,
            "together": TOGETHER,
            "threads": options.threads,
            "runs": options.runs,
        },
        "median": medians,
        "runs": rounds,
        "cache": vars(bench.model.cache),
    }
    result["machine"] |= {"load_average": load_average, "memory_gb_per_s_in_rounds": rates[1:]}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n" + tables.live(result))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="gemma-4-e2b")
    parser.add_argument("--scheme", choices=SCHEMES, default="int4")
    parser.add_argument("--work", type=Path, default=default_work(), help="where folders of random weights are kept")
    parser.add_argument("--runs", type=int, default=5, help="measured rounds, after one that warms up")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of sound")
    parser.add_argument("--tokens", type=int, default=65, help="of each answer that is timed")
    parser.add_argument("--results", type=Path, default=tables.RESULTS / "live.json", help="the JSON to write")
    return parser


if __name__ == "__main__":
    main()
