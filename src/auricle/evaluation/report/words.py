"""What a page says in sentences: what was measured, what came out, what to be careful about, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from auricle.evaluation.analysis.estimates import told
from auricle.evaluation.analysis.factors import Factor, levels
from auricle.evaluation.analysis.pairs import Pairs
from auricle.evaluation.analysis.runs import ALL, source_of
from auricle.evaluation.analysis.scores import BINS
from auricle.evaluation.analysis.summary import Summary

MOST_NAMED = 4  # labels or runs in a sentence
LONGEST_FACT = 200  # characters
PROMPTS = ("prompt", "prompt.text", "template", "question")  # names of what is shown as a text of its own
# What a run is judged by in one sentence, and in which direction it is better.
JUDGED = {"label": ("balanced_accuracy", "balanced accuracy", 1), "answer": ("accuracy", "accuracy", 1)}
JUDGED["transcribe"] = ("wer", "WER", -1)


def listed(names: list[str], last: str = "and") -> str:
    """a, b and c"""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def title(runs: Mapping[str, Summary]) -> str:
    run = next(iter(runs.values())).run
    if run.task == "transcribe":
        return "What was heard: transcription"
    if run.task == "answer":
        return "What was heard: answers to questions"
    labels = list(run.labels)
    return f"What was heard: {listed(labels, 'or') if len(labels) <= MOST_NAMED else f'{len(labels)} labels'}"


def lead(runs: Mapping[str, Summary], factors: tuple[Factor, ...]) -> str:
    """What was measured, and what came out, in a few sentences."""
    summary = next(iter(runs.values()))
    names = list(runs)
    who = listed(names) if len(names) <= MOST_NAMED else f"{len(names)} runs"
    rows = summary.run.of(summary.split)
    split = "" if summary.split == ALL else f" of split {summary.split}"
    verb = {"label": "labelled", "answer": "answered questions on", "transcribe": "transcribed"}[summary.run.task]
    sources = len({source_of(row) for row in rows})
    measured = f"{who} {verb} {len(rows)} sounds{split} from {sources} sources"
    spans = [f"{factor.title} ({_span(factor, summary)})" for factor in factors if factor.crossed]
    varied = f", which differ in {listed(spans)}" if spans else ""
    return f"{measured}{varied}. {_result(runs)}"


def _span(factor: Factor, summary: Summary) -> str:
    there = levels(factor, summary.run.of(summary.split))
    numbers = [one.name for one in there if one.value is not None]
    words = [one.name for one in there if one.value is None]
    if len(numbers) > 2:
        numbers = [f"{numbers[0]} to {numbers[-1]}"]
    return ", ".join([*numbers, *words[:MOST_NAMED], *(["…"] if len(words) > MOST_NAMED else [])])


def _result(runs: Mapping[str, Summary]) -> str:
    task = next(iter(runs.values())).run.task
    key, figure, sign = JUDGED[task]
    found = {name: one.reported.figures.get(key) for name, one in runs.items()}
    valued = {name: one for name, one in found.items() if one is not None and one.value is not None}
    if not valued:
        return "No sound got an answer."
    order = sorted(valued, key=lambda name: -sign * (valued[name].value or 0.0))
    if len(runs) == 1:
        return f"Its {figure} is {told(valued[order[0]])}."
    said = listed([f"{told(valued[name])} of {name}" for name in order[:MOST_NAMED]])
    return f"The {figure} is {said}."


def warnings(runs: Mapping[str, Summary], pairs: Pairs | None) -> Iterator[str]:
    """What a reader must not miss."""
    for name, one in runs.items():
        run = one.run
        if not run.complete:
            yield f"{name} is not complete: {len(run.rows)} of {run.planned} rows are there, and figures are of those."
        if errors := one.reported.errors:
            yield f"{name}: {errors} of {one.reported.rows} sounds got no answer but an error, and are in no figure."
        if one.reported.sources < 10:
            yield f"{name} heard {one.reported.sources} source(s) only, so that intervals over sources are rough."
    if pairs is not None and pairs.absent:
        yield (
            f"The runs don't have the same sounds: {pairs.absent} are in some runs only. Comparisons are of the "
            f"{pairs.rows} that all answered, and other figures of all that a run has."
        )


def facts(summary: Summary) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What is known of a run: short values by name, and longer texts such as the prompt."""
    run = summary.run
    short = [("folder", str(run.folder)), ("rows", f"{len(run.rows)} of {run.planned}")]
    texts: list[tuple[str, str]] = []
    sessions = run.about.get("sessions") or []
    about = {name: value for name, value in run.about.items() if name != "sessions"}
    if sessions:
        about |= {**sessions[-1], "elapsed_s": round(sum(one.get("elapsed_s") or 0.0 for one in sessions), 1)}
        about |= {"started": sessions[0].get("started"), "times worked on": len(sessions)}
    for key, value in _flat({**run.plan, **about}):
        long = "\n" in value or len(value) > LONGEST_FACT
        (texts if long or key.endswith(PROMPTS) else short).append((key, value))
    return short, texts


def _flat(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        name = f"{above}{key}"
        if key == "versions" and isinstance(value, Mapping):
            yield name, ", ".join(f"{library} {version}" for library, version in value.items())
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif value is not None:
            yield name, _spelt(value)


def _spelt(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def method(summary: Summary) -> list[str]:
    """How the figures of this page are made, a line each."""
    run = summary.run
    lines = [_ERRORS, _INTERVALS]
    if run.task == "label" and len(run.labels) == 2:
        positive, other = run.labels
        lines += [line.replace("{positive}", positive).replace("{other}", other) for line in _TWO_LABELS]
    if run.task == "label":
        lines.append(f"ECE is over {BINS} bins of equal width.")
    if summary.curves:
        lines.append(_CURVES)
    if run.task == "transcribe":
        lines.append(_WER)
    return lines


_ERRORS = """An error is no answer, and is in no figure. An unknown answer is one that names no label: counted as
wrong, it stays in every denominator; dropped, figures are of the others."""
_INTERVALS = """Intervals are of 95 %. Those of figures over all rows come from a bootstrap over sources (BCa;
percentiles for AUC, EER, average precision, ECE and Brier score): whole sources are drawn, since clips
of one recording stand or fall together. In tables by condition, each end is the wider of that and of
Wilson's."""
_TWO_LABELS = (
    """d′ = z(H) − z(F) and c = −(z(H) + z(F)) / 2, where H is the share of {positive} clips called so and F that of
{other} clips, each with half an answer added (log-linear). c above 0: {positive} is said too seldom.""",
    "AUC, EER and average precision are of the probability of {positive}, as the model gave it.",
    "A decision threshold is chosen on split dev for the highest balanced accuracy, and applied to another split.",
)
_CURVES = """Psychometric functions: guess + (1 − guess − lapse) F(x), F logistic, over log duration or SNR in dB, each
class apart, guess and lapse free under weak priors; a clean sound has no SNR and is in no fit over it.
Ends of intervals are the wider of the likelihood's profile and of sources drawn anew."""
_WER = """WER = (substitutions + insertions + deletions) / words of the truth, over all sounds together, after the
normaliser that the run names."""
