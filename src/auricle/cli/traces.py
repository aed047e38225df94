"""The tables of `auricle ask --trace`."""

from __future__ import annotations

from itertools import groupby
from typing import Any, TextIO

from auricle.cli import show
from auricle.types import Answer

STATISTICS = ("name", "shape", "min", "max", "mean", "std")


def show_trace(answer: Answer, stream: TextIO) -> None:
    """Prompt, features, activations and sampled tokens of an answer that was traced."""
    trace = answer.trace
    assert trace is not None, "the answer was asked for with trace=True"
    show.table("prompt layout", ("part", "text"), _numbered(trace["layout"]), stream)
    show.table("prompt token ids", ("ids", "count"), _runs(trace["prompt_ids"]), stream)
    show.table("features", STATISTICS, _statistics(trace["features"]), stream)
    show.table("activations", STATISTICS, _statistics(trace["activations"]), stream)
    sampled = [
        (i, token["id"], repr(token["text"]), token["logit"], token["logprob"])
        for i, token in enumerate(trace["sampled"], start=1)
    ]
    show.table("sampled tokens", ("step", "id", "token", "logit", "log-probability"), sampled, stream)


def _numbered(lines: list[str]) -> list[tuple[int, str]]:
    return [(i, repr(line)) for i, line in enumerate(lines, start=1)]


def _runs(ids: list[int]) -> list[tuple[str, int]]:
    """Ids in order; the hundreds of equal ones that keep audio's places are one row."""
    rows: list[tuple[str, int]] = []
    text: list[int] = []
    for id, run in groupby(ids):
        count = len(list(run))
        if count < 4:
            text += [id] * count
            continue
        rows += [(" ".join(map(str, text)), len(text))] if text else []
        rows.append((f"{id} ...", count))
        text = []
    return rows + ([(" ".join(map(str, text)), len(text))] if text else [])


def _statistics(entries: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(entry[name] if name != "shape" else _shape(entry[name]) for name in STATISTICS) for entry in entries]


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
