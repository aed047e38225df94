"""Folders as `auricle eval` leaves them, answered by observers whose thresholds are known.

`python -m tests.evaluation.report.runs DIR` writes some to look at.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile

DURATIONS = (20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 500.0, 1000.0)
SNRS = (-10.0, -5.0, 0.0, 5.0, 10.0, None)
RATE = 16_000

Row = dict[str, Any]


@dataclass(frozen=True)
class Observer:
    """Right with `guess + (1 - guess - lapse) F`, F logistic in decades of duration, shifted by noise."""

    midpoint_ms: float = 60.0
    guess: float = 0.3
    lapse: float = 0.02
    steep: float = 8.0  # per decade
    noise_decades: float = 0.03  # by which each dB below 10 shifts the midpoint

    def right(self, duration_ms: float, snr_db: float | None) -> float:
        shift = 0.0 if snr_db is None else self.noise_decades * (10 - snr_db)
        z = self.steep * (np.log10(duration_ms) - np.log10(self.midpoint_ms) - shift)
        return float(self.guess + (1 - self.guess - self.lapse) / (1 + np.exp(-z)))


KEEN = {"speech": Observer(50, 0.3), "nonspeech": Observer(45, 0.6)}
DULL = {"speech": Observer(110, 0.2), "nonspeech": Observer(60, 0.7)}


def label_rows(
    observers: Mapping[str, Observer] = KEEN,
    *,
    sources: int = 20,
    splits: Mapping[str, float] | None = None,
    durations: Sequence[float | None] = DURATIONS,
    snrs: Sequence[float | None] = SNRS,
    errors: int = 0,
    unknowns: int = 0,
    probabilities: bool = True,
    seed: int = 0,
) -> list[Row]:
    """A row for each source of each label under each condition; every fourth source is dev unless told otherwise."""
    rng = np.random.default_rng(seed)
    labels = list(observers)
    rows: list[Row] = []
    for label in labels:
        for number in range(sources):
            split = "dev" if number % 4 == 0 else "test"
            if splits is not None:
                split = list(splits)[int(np.searchsorted(np.cumsum(list(splits.values())), number / sources, "right"))]
            hardness = rng.normal(0, 0.08)  # what all clips of a source share, in decades
            for duration in durations:
                for snr in snrs:
                    seen = (duration or 1000.0) / 10**hardness
                    right = bool(rng.random() < observers[label].right(seen, snr))
                    others = [other for other in labels if other != label]
                    said = label if right else others[int(rng.integers(len(others)))]
                    name = f"{label}/{number:02}/{'whole' if duration is None else f'{duration:g}ms'}"
                    rows.append(
                        {
                            "segment_id": f"{name}/{'clean' if snr is None else f'{snr:+g}dB'}",
                            "clip_id": f"{label}/{number:02}",
                            "source_id": f"{label}-{number:02}",
                            "split": split,
                            "dataset": "made up",
                            "category": label,
                            "condition": "clean" if snr is None else f"white{snr:+g}dB",
                            "duration_ms": duration,
                            "snr_db_nominal": snr,
                            "snr_db_measured": None if snr is None else snr + float(rng.normal(0, 0.01)),
                            "rt60": 0.0,
                            "noise": None if snr is None else "white",
                            "gain_db": 0.0,
                            "path": f"sounds/{label}-{'whole' if duration is None else f'{duration:g}'}.wav",
                            "true_label": label,
                            **_said(said, labels, probabilities, rng),
                            "prompt_id": "plain",
                            "label_order": "both",
                            "model": "made-up",
                            "preprocess_ms": float(rng.gamma(4, 0.5)),
                            "model_ms": float(rng.gamma(9, 2) + (duration or 1000) / 100),
                            "batch": len(rows) // 8,
                            "error": None,
                        }
                    )
                    rows[-1]["latency_ms"] = rows[-1]["preprocess_ms"] + rows[-1]["model_ms"] + 0.2
    places = rng.permutation(len(rows))
    for place in places[:errors]:
        missing = dict.fromkeys(["pred_label", "confidence", "latency_ms", "preprocess_ms", "model_ms"])
        missing |= {f"p_{label}": None for label in labels}
        rows[place] |= {**missing, "error": "sound is empty: give one with samples"}
    for place in places[errors : errors + unknowns]:
        rows[place] |= {
            "pred_label": None,
            "confidence": None,
            "raw_output": "I can't say",
            "parse_rule": "parser: none",
        }
        rows[place] |= {f"p_{label}": None for label in labels}
    return rows


def _said(said: str, labels: list[str], probabilities: bool, rng: np.random.Generator) -> Row:
    if not probabilities:
        return {"pred_label": said, "confidence": None, "raw_output": said, "parse_rule": "parser: label"}
    logits = rng.normal(0, 1, len(labels))
    logits[labels.index(said)] = logits.max() + rng.gamma(1.5, 1.2)
    shares = np.exp(logits) / np.exp(logits).sum()
    found = {f"p_{label}": float(share) for label, share in zip(labels, shares, strict=True)}
    return {
        "pred_label": said,
        "confidence": float(shares.max()),
        **found,
        "logits": [float(one) for one in logits],
        "raw_output": "",
        "parse_rule": "likelihood",
    }


def transcribe_rows(sources: int = 12, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(sources):
        for snr in SNRS:
            words = int(rng.integers(4, 12))
            wrong = int(rng.binomial(words, 0.05 if snr is None else 0.3 - snr / 50))
            rows.append(
                {
                    "segment_id": f"{number:02}/{snr}",
                    "source_id": f"speaker-{number:02}",
                    "split": "test",
                    "snr_db_nominal": snr,
                    "noise": None if snr is None else "pink",
                    "path": "sounds/speech-500.wav",
                    "true_text": " ".join(["word"] * words),
                    "pred_text": " ".join(["word"] * (words - wrong) + ["ward"] * wrong),
                    "wer": wrong / words,
                    "cer": wrong / (5 * words - 1),
                    "substitutions": wrong,
                    "insertions": 0,
                    "deletions": 0,
                    "words": words,
                    "char_edits": wrong,
                    "chars": 5 * words - 1,
                    "latency_ms": float(rng.gamma(9, 10)),
                    "preprocess_ms": float(rng.gamma(4, 0.5)),
                    "model_ms": float(rng.gamma(9, 9)),
                    "error": None,
                }
            )
    return rows


def answer_rows(sources: int = 12, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(sources):
        for duration in DURATIONS:
            right = bool(rng.random() < Observer(guess=0.25).right(duration, None))
            rows.append(
                {
                    "segment_id": f"{number:02}/{duration:g}",
                    "source_id": f"source-{number:02}",
                    "split": "test",
                    "duration_ms": duration,
                    "path": f"sounds/speech-{duration:g}.wav",
                    "question": "Which instrument is it?",
                    "true_answer": "piano",
                    "pred_answer": "piano" if right else "violin",
                    "right": right,
                    "latency_ms": float(rng.gamma(9, 3)),
                    "preprocess_ms": float(rng.gamma(4, 0.5)),
                    "model_ms": float(rng.gamma(9, 2)),
                    "error": None,
                }
            )
    return rows


def write_run(
    folder: Path,
    rows: Sequence[Row],
    *,
    task: str = "label",
    labels: Sequence[str] | None = ("speech", "nonspeech"),
    model: str = "made-up",
    complete: bool = True,
    sounds: bool = True,
    load_s: float = 1.234,
    **more: Any,
) -> Path:
    """A run's folder; of one that isn't complete, the last line is torn, as a kill leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "task": task,
        "labels": None if labels is None else list(labels),
        "model": model,
        "revision": "abc123",
        "backend": "native",
        "device": "cpu",
        "dtype": "float32",
        "auricle": "0.1.0",
        "prompt_id": "plain",
        "prompt": "Is this SPEECH or NONSPEECH?",
    }
    session = {"started": "2026-01-01T12:00:00+00:00", "load_s": load_s, "elapsed_s": 60.5, "machine": "Linux, 2 cores"}
    manifest = {"path": "../set/manifest.parquet", "sha256": "5f" * 32, "clips": len(rows)}
    about = {"manifest": manifest, "sessions": [{**session, "load_s": 9.9}, session]}
    (folder / "plan.json").write_text(json.dumps({**plan, **more}), encoding="utf-8")
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    lines = [json.dumps(row) + "\n" for row in rows]
    if complete:
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: [row.get(name) for row in rows] for name in names}
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / "rows.parquet")
        (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    else:
        half = lines[: len(lines) // 2]
        (folder / "rows.jsonl").write_text("".join(half) + lines[-1][:40], encoding="utf-8")
    if sounds:
        write_sounds(folder, {str(row["path"]) for row in rows if ".." not in str(row["path"])})
    return folder


def write_sounds(folder: Path, paths: set[str]) -> None:
    """Tones under the names of speech, noise under others, as long as the name says."""
    rng = np.random.default_rng(0)
    for path in sorted(paths):
        _, _, length = Path(path).stem.rpartition("-")
        time = np.arange(round(RATE * (float(length) if length.isdigit() else 1000.0) / 1000)) / RATE
        tone = 0.3 * np.sin(2 * np.pi * 220 * time) * (1 + 0.5 * np.sin(2 * np.pi * 5 * time))
        samples = tone if "nonspeech" not in path else 0.1 * rng.standard_normal(len(time))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, samples.clip(-1, 1), RATE, subtype="PCM_16")


def main(out: Path) -> None:
    write_run(out / "keen", label_rows(KEEN, errors=3, unknowns=20), model="keen", load_s=1.2)
    write_run(out / "dull", label_rows(DULL, errors=1, seed=1), model="dull", load_s=0.4)
    write_run(out / "silero", label_rows({**KEEN, "speech": DULL["speech"]}, seed=2), model="silero", load_s=0.1)
    write_run(out / "free", label_rows(probabilities=False, unknowns=60), model="free-answers")
    write_run(out / "broken-off", label_rows(), complete=False)
    many = {f"kind {number}": Observer(40 + 20 * number, 0.1) for number in range(12)}
    write_run(out / "many", label_rows(many, sources=4, snrs=(None,)), labels=list(many))
    write_run(out / "plain", label_rows(durations=(None,), snrs=(None,), sources=60))
    write_run(out / "transcribe", transcribe_rows(), task="transcribe", labels=None, normaliser="lower, no punctuation")
    write_run(out / "answer", answer_rows(), task="answer", labels=None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
