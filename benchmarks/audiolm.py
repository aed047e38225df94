"""What `tiny-audiolm` makes of melodies that it has never heard: key, tempo, gaps and manner, against chance.

    python -m benchmarks.audiolm --trained EXP/result.json

Melodies of one voice are synthesised under a seed of their own and judged by ear (`recipes.audiolm.hearing`), each
measure beside what it gives for the true sound through the codec, and beside chance: the same continuations judged by
the keys and tempi of other prompts. Intervals are 95 % bootstraps over melodies.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from auricle.audiolm.distances import log_mel_frechet
from auricle.audiolm.making import Loaded, continue_audio, infilling, load_audiolm, restyle_audio
from auricle.audiolm.making.defaults import TRIES
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling
from auricle.audiolm.spectra import log_mel_distance
from auricle.bench import machine
from auricle.types import Audio
from benchmarks import audiolm_tables
from recipes.audiolm.hearing import in_key, pitches, pulse, tempo
from recipes.audiolm.melodies import Melody, melody
from recipes.audiolm.timbres import INSTRUMENTS, RATE

SEED = 902
PROMPT_S, MADE_S = 5.0, 6.0
GAP = (3.0, 4.5)
DRAWS = 8  # fillings of each gap and side, whose mean counts: a single one is near or far by luck
RESAMPLES = 2000


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    loaded = load_audiolm(options.model)
    sampling = TokenSampling(options.temperature, options.top_k, options.top_p)
    voices = single_voices(2 * options.melodies)
    voices, others = voices[: options.melodies], voices[options.melodies :]
    result = {
        "benchmark": "audiolm",
        **machine.describe(),
        "model": options.model,
        "melodies": len(voices),
        "prompt_s": PROMPT_S,
        "made_s": MADE_S,
        "gap_s": list(GAP),
        "draws": DRAWS,
        "tries": TRIES,
        "test": json.loads(options.trained.read_text(encoding="utf-8"))["test"],
        "sampling": {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p},
        "continue": continued(loaded, voices, others, sampling),
        "infill": filled(loaded, voices, sampling),
        "restyle": restyled(loaded, voices, sampling),
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(audiolm_tables.audiolm(result))


def single_voices(count: int) -> list[Melody]:
    """Held-out melodies without a bass."""
    made = (melody(np.random.default_rng((SEED, i)), PROMPT_S + MADE_S) for i in range(10 * count))
    return list(islice((one for one in made if not one.bass), count))


def continued(
    loaded: Loaded, voices: Sequence[Melody], others: Sequence[Melody], sampling: TokenSampling
) -> dict[str, Any]:
    """The share of the voiced time in the prompt's key, how often its tempo is kept, and how alike the sound is."""
    made, true = [], []
    for number, voice in enumerate(track(voices, "continuing")):
        done = continue_audio(_start(voice), MADE_S, model=loaded, sampling=sampling, seed=number)
        made.append(done.audio.samples[-round(MADE_S * RATE) :])
        true.append(through(loaded, voice.samples)[round(PROMPT_S * RATE) :])
    heard = {"made": made, "true": true}
    ends = {
        "true": [one.samples[round(PROMPT_S * RATE) :] for one in voices],
        "made": made,
        "other melodies": [through(loaded, one.samples)[round(PROMPT_S * RATE) :] for one in others],
        "noise": [np.random.default_rng(i).normal(0, 0.1, len(one)).astype(np.float32) for i, one in enumerate(made)],
    }
    keys = {name: _keys([pitches(sound) for sound in sounds], voices) for name, sounds in heard.items()}
    pulses = {name: _pulses(sounds, voices) for name, sounds in heard.items()}
    tempi = {name: _tempi(sounds, voices) for name, sounds in heard.items()}
    return {
        "in_key": keys,
        "in_time": pulses,
        "tempo_kept": tempi,
        "frechet_db2": {name: round(log_mel_frechet(sounds, ends["true"], RATE), 1) for name, sounds in ends.items()},
        "silent": sum(float(np.abs(one).max()) < 0.01 for one in made),
    }


def _keys(tracks: list[np.ndarray], voices: Sequence[Melody]) -> dict[str, Any]:
    own = np.array([in_key(one, voice.key, voice.mode) for one, voice in zip(tracks, voices, strict=True)])
    others = np.array([np.nanmean([in_key(one, voice.key, voice.mode) for voice in voices]) for one in tracks])
    return {**_mean(own), "chance": _mean(others), "above_chance": _mean(own - others)}


def _pulses(sounds: list[np.ndarray], voices: Sequence[Melody]) -> dict[str, Any]:
    """How far onsets fall on the eighths of the prompt's tempo, and on those of the others'."""
    tempi = sorted({voice.bpm for voice in voices})
    found = [{bpm: pulse(one, bpm) for bpm in tempi} for one in sounds]
    own = np.array([one[voice.bpm] for one, voice in zip(found, voices, strict=True)])
    others = np.array([np.mean([one[voice.bpm] for voice in voices]) for one in found])
    return {**_mean(own), "chance": _mean(others), "above_chance": _mean(own - others)}


def _tempi(sounds: list[np.ndarray], voices: Sequence[Melody]) -> dict[str, Any]:
    found = np.array([tempo(one) for one in sounds])
    asked = np.array([voice.bpm for voice in voices])
    kept = (found == asked).astype(float)
    chance = (found[:, None] == asked).mean(1)
    return {**_mean(kept), "chance": _mean(chance), "above_chance": _mean(kept - chance)}


def filled(loaded: Loaded, voices: Sequence[Melody], sampling: TokenSampling) -> dict[str, Any]:
    """How near gaps come to what was there, filled from both sides and from the left alone: log-mel distance in dB.

    And how well the codes that were there are foretold, nats a token: that takes no luck of the draw.
    """
    apart: dict[str, list[float]] = {"both_sides": [], "left_alone": [], "codec": []}
    first, last = (round(second * RATE) for second in GAP)
    for number, voice in enumerate(track(voices, "filling")):
        true = _row(voice.samples[first:last])
        sounds = {"codec": [through(loaded, voice.samples)]}
        for name, alone in (("both_sides", False), ("left_alone", True)):
            whole = Audio(voice.samples, RATE, "melody")
            making = infilling(
                whole, GAP, from_left_only=alone, model=loaded, sampling=sampling, seed=DRAWS * number, all_threads=True
            )
            sounds[name] = [made.audio.samples for made in making.variants(DRAWS)]
        for name, each in sounds.items():
            far = [float(log_mel_distance(_row(sound[first:last]), true, RATE)) for sound in each]
            apart[name].append(float(np.mean(far)))
    found = {name: _mean(np.array(values)) for name, values in apart.items()}
    gained = np.array(apart["left_alone"]) - np.array(apart["both_sides"])
    return {**found, "both_sides_nearer_by": _mean(gained), "nats": foretold(loaded, voices)}


def foretold(loaded: Loaded, voices: Sequence[Melody]) -> dict[str, Any]:
    """Cross-entropy of the true codes of gaps, nats a token, with both sides and with the left alone."""
    first, last = (round(second * loaded.codec.frame_rate) for second in GAP)
    nats = {"both_sides": [], "left_alone": []}
    for voice in track(voices, "foretelling"):
        codes = torch.from_numpy(np.asarray(loaded.codec.encode(voice.samples), np.int64))
        gap = codes[first:last]
        for name, right in (("both_sides", codes[last:]), ("left_alone", codes[:0])):
            prompt = Prompt(left=codes[:first], right=right, style=codes[:0], gap=len(gap) if len(right) else 0)
            with torch.no_grad():
                losses = loaded.lm.evaluate(Batch.of([prompt], [gap]))
            nats[name].append((losses.nll_sums / losses.tokens).tolist())
    halves = {"codebook 0": slice(1), "codebooks 1 to 3": slice(1, 4)}
    found = {
        books: {name: np.array(each)[:, span].mean(1) for name, each in nats.items()} for books, span in halves.items()
    }
    for each in found.values():
        each["gained"] = each["left_alone"] - each["both_sides"]
    return {books: {name: _mean(values) for name, values in each.items()} for books, each in found.items()}


def restyled(loaded: Loaded, voices: Sequence[Melody], sampling: TokenSampling) -> dict[str, Any]:
    """Which instrument is heard after one melody went on in the manner of another, by a classifier of known ones."""
    judge = Judge(loaded)
    pairs = [(a, b) for a, b in pairwise(voices) if a.instrument != b.instrument]
    names = []
    for number, (one, other) in enumerate(track(pairs, "restyling")):
        like = Audio(other.samples, RATE, "like")
        done = restyle_audio(_start(one), like, MADE_S, model=loaded, sampling=sampling, seed=number)
        names.append(judge(done.audio.samples[-round(MADE_S / 2 * RATE) :]))
    followed = np.array([name == other.instrument for name, (_, other) in zip(names, pairs, strict=True)], float)
    stayed = np.array([name == one.instrument for name, (one, _) in zip(names, pairs, strict=True)], float)
    found = {"like": _mean(followed), "as_before": _mean(stayed), "chance": round(1 / len(INSTRUMENTS), 4)}
    return {"pairs": len(pairs), "judge_right": judge.right, **found}


class Judge:
    """Tells the recipe's instruments apart by the mean and the spread of their spectra."""

    def __init__(self, loaded: Loaded, count: int = 400) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        made = [melody(np.random.default_rng((SEED, 1, i)), MADE_S / 2) for i in range(count)]
        features = [self._features(through(loaded, one.samples)) for one in made]
        names = [one.instrument for one in made]
        half = count // 2
        self._model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        self._model.fit(features[:half], names[:half])
        self.right = float(self._model.score(features[half:], names[half:]))
        self._model.fit(features, names)

    def __call__(self, sound: np.ndarray) -> str:
        return str(self._model.predict([self._features(sound)])[0])

    @staticmethod
    def _features(sound: np.ndarray) -> np.ndarray:
        from auricle.audiolm.spectra import log_mel

        found = log_mel(_row(sound / max(float(np.abs(sound).max()), 1e-3)), RATE, bands=40)[0]
        return torch.cat([found.mean(0), found.std(0)]).numpy()


def through(loaded: Loaded, sound: np.ndarray) -> np.ndarray:
    """As the codec gives it back."""
    return loaded.codec.decode(loaded.codec.encode(sound))[: len(sound)]


def _start(voice: Melody) -> Audio:
    return Audio(voice.samples[: round(PROMPT_S * RATE)], RATE, "melody")


def _row(sound: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(sound))[None]


def _mean(values: np.ndarray) -> dict[str, Any]:
    """The mean, and a percentile bootstrap of it."""
    known = values[~np.isnan(values)]
    rng = np.random.default_rng(0)
    means = known[rng.integers(len(known), size=(RESAMPLES, len(known)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return {"mean": round(float(known.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-audiolm")
    parser.add_argument("--trained", type=Path, required=True, help="the training run's result.json: its test items")
    parser.add_argument("--melodies", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--top-k", type=int, default=50)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "audiolm.json")
    return parser


if __name__ == "__main__":
    main()
