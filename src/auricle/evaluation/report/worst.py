"""The most confident mistakes of a run, with their sounds, so that a reader can hear what went wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import soundfile

from auricle.errors import SoundError
from auricle.evaluation.analysis.factors import Factor, level_of
from auricle.evaluation.analysis.runs import Row, Run, edits
from auricle.evaluation.manifest import Clip
from auricle.evaluation.sounds import read_clip

RATE = 16_000  # of sounds whose row doesn't say
LONGEST_TEXT = 300  # characters of a model's words


@dataclass(frozen=True)
class Mistake:
    """One wrong answer, as it is shown."""

    run: str
    sound: str  # its segment_id
    true: str
    said: str  # "unknown" where the answer named no label
    confidence: float | None
    condition: str
    words: str  # of the model, where there are any beside the answer
    question: str
    player: str | None  # a data: address
    silent: str  # why there is no player


@dataclass
class Budget:
    """How many bytes of sound the page may still take."""

    left: int
    cut: int = 0  # players left out because of it
    broken: list[str] = field(default_factory=list)  # why others are


def mistakes(
    name: str, run: Run, rows: Sequence[Row], factors: Sequence[Factor], most: int, budget: Budget
) -> list[Mistake]:
    """The worst answers of a run, worst first.

    Wrong labels by their probability, and behind them answers without one; transcripts by their WER.

    Args:
        budget: of the bytes of sound, which this takes from.
    """
    return [_mistake(name, run, row, factors, budget) for row in _worst(run, rows)[:most]]


def _worst(run: Run, rows: Sequence[Row]) -> list[Row]:
    done = [row for row in rows if not row.get("error")]
    if run.task == "transcribe":
        wrong = [row for row in done if edits(row)]
        return sorted(wrong, key=lambda row: (-edits(row) / max(1, row["words"]), -row["words"]))
    if run.task == "answer":
        wrong = [row for row in done if not row["right"]]
    else:
        wrong = [row for row in done if row["pred_label"] != row["true_label"]]
    return sorted(wrong, key=lambda row: -1.0 if row.get("confidence") is None else -2.0 - row["confidence"])


def _mistake(name: str, run: Run, row: Row, factors: Sequence[Factor], budget: Budget) -> Mistake:
    player, silent = _player(run, row, budget)
    kind = {"label": "label", "answer": "answer", "transcribe": "text"}[run.task]
    said = row.get(f"pred_{kind}")
    words = row.get("raw_output") or ""
    confidence = row["wer"] if run.task == "transcribe" else row.get("confidence")
    return Mistake(
        name,
        str(row["segment_id"]),
        str(row[f"true_{kind}"]),
        "unknown" if said is None else str(said),
        confidence,
        ", ".join(factor.spell(level_of(factor, row)) for factor in factors) or str(row.get("condition") or ""),
        "" if words == said else _cut(str(words)),
        _cut(str(row.get("question") or "")),
        player,
        silent,
    )


def _player(run: Run, row: Row, budget: Budget) -> tuple[str | None, str]:
    """The sound as FLAC in a data: address; or None, and why."""
    if budget.left <= 0:
        budget.cut += 1
        return None, "left out: the page would become too large"
    try:
        sound = _flac(run, row)
    except SoundError as error:
        budget.broken.append(str(error))
        return None, str(error)
    address = f"data:audio/flac;base64,{base64.b64encode(sound).decode()}"
    if len(address) > budget.left:
        budget.cut += 1
        return None, "left out: the page would become too large"
    budget.left -= len(address)
    return address, ""


def _flac(run: Run, row: Row) -> bytes:
    """
    Raises:
        SoundError: the row names no file, or one that can't be read.
    """
    path = row.get("path")
    if not path:
        raise SoundError(f"row {row['segment_id']} names no file")
    clip = Clip(
        str(row["segment_id"]),
        str(row.get("clip_id") or row["segment_id"]),
        str(run.folder / str(path)),
        str(row.get("source_id")),
        start_s=row.get("start_s"),
        end_s=row.get("end_s"),
    )
    rate = int(row.get("rate") or RATE)
    samples = read_clip(clip, rate)
    with io.BytesIO() as file:
        soundfile.write(file, samples.clip(-1, 1), rate, format="FLAC", subtype="PCM_16")
        return file.getvalue()


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def failures(runs: Mapping[str, tuple[Run, Sequence[Row]]]) -> list[tuple[str, str, int, str]]:
    """Errors by what they say: the run, the message, how many sounds have it, and one of them."""
    found: dict[tuple[str, str], list[Any]] = {}
    for name, (_, rows) in runs.items():
        for row in rows:
            if row.get("error"):
                entry = found.setdefault((name, _cut(str(row["error"]))), [0, str(row["segment_id"])])
                entry[0] += 1
    return [(name, message, count, example) for (name, message), (count, example) in found.items()]
