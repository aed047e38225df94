"""The tables of the models that make sound: see `benchmarks.tables`."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import table


def codec(result: dict[str, Any]) -> str:
    """Quality by the number of codebooks, then speed."""
    kinds, size = result["kinds"], result["codec"]["size"]
    head = ["codebooks"]
    for kind in kinds:
        head += [f"{kind}: SI-SDR, dB", "log-mel distance, dB", f"perplexity, of {size}"]
    rows = []
    for i in range(len(next(iter(kinds.values()))["si_sdr_db"])):
        row = [str(i + 1)]
        for found in kinds.values():
            share = found["perplexity"][i] / size
            row += [f"{found['si_sdr_db'][i]:.1f}", f"{found['log_mel_db'][i]:.2f}"]
            row += [f"{found['perplexity'][i]:.0f} ({100 * share:.0f} %)"]
        rows.append(row)
    speed = result["speed"]
    ratios = {name: speed[name] / speed[f"{name}_reference"] for name in ("encode", "decode")}
    note = (
        f"{result['clips']} clips of {result['seconds']:g} s of each kind, synthesised under a seed of their own; the "
        f"perplexity is that of the row's last codebook. Encoding is {ratios['encode']:.1f} times, decoding "
        f"{ratios['decode']:.1f} times as fast as by transformers {result['versions']['transformers']} "
        f"({speed['encode']:.0f} and {speed['decode']:.0f} seconds of sound a second, {speed['threads']} threads of "
        f"{result['machine']['processor']}). {result['date']}; made by `python -m benchmarks.codec`."
    )
    return f"{table(head, rows, right=range(1, len(head)))}\n\n{note}"


def audiolm(result: dict[str, Any]) -> str:
    """Each measure beside chance and beside the true sound."""
    going, filling, styling = result["continue"], result["infill"], result["restyle"]
    rows = []
    for name, label in (("in_key", "voiced time in the prompt's key"), ("tempo_kept", "the prompt's tempo kept")):
        made, true = going[name]["made"], going[name]["true"]
        rows.append([label, _percent(made), _percent(made["chance"]), _percent(true)])
    rows.append(["the instrument that was asked for (restyle)", _percent(styling["like"]), "12 %", _right(styling)])
    gap = result["gap_s"][1] - result["gap_s"][0]
    rows += [
        [f"log-mel distance of a gap of {gap:g} s, both sides heard", _decibels(filling["both_sides"]), "", ""],
        ["the same, the left side heard alone", _decibels(filling["left_alone"]), "", _decibels(filling["codec"])],
    ]
    head = ["", "`tiny-audiolm`", "chance", "the true sound through the codec"]
    nearer = filling["both_sides_nearer_by"]
    seconds = f"{result['prompt_s']:g} s heard and {result['made_s']:g} s made"
    gained = f"{nearer['mean']:.2f} dB ({nearer['low']:.2f} to {nearer['high']:.2f})"
    note = (
        f"{result['melodies']} melodies that training never saw, {seconds}; in brackets 95 % intervals over melodies. "
        "Chance is the same continuations judged by other prompts' keys and tempi. With both sides a gap is nearer to "
        f"what was there by {gained}. {result['date']}; made by `python -m benchmarks.audiolm`."
    )
    return f"{table(head, rows, right=(1, 2, 3))}\n\n{note}"


def _percent(found: dict[str, float]) -> str:
    return f"{100 * found['mean']:.0f} % ({100 * found['low']:.0f} to {100 * found['high']:.0f})"


def _right(styling: dict[str, Any]) -> str:
    return f"{100 * styling['judge_right']:.0f} %"


def _decibels(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} dB ({found['low']:.2f} to {found['high']:.2f})"
