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
    measures = {
        "in_key": "voiced time in the prompt's key",
        "in_time": "onsets in time with the prompt's eighths",
        "tempo_kept": "the prompt's tempo, of twelve, is what is heard",
    }
    for name, label in measures.items():
        made, true = going[name]["made"], going[name]["true"]
        rows.append([label, _percent(made), _percent(made["chance"]), _percent(true)])
    chance = f"{100 * styling['chance']:.0f} %"
    rows.append(["the instrument that was asked for (restyle)", _percent(styling["like"]), chance, _right(styling)])
    gap = result["gap_s"][1] - result["gap_s"][0]
    rows += [
        [f"log-mel distance of a gap of {gap:g} s, both sides heard", _decibels(filling["both_sides"]), "", ""],
        ["the same, the left side heard alone", _decibels(filling["left_alone"]), "", _decibels(filling["codec"])],
    ]
    for books, nats in filling["nats"].items():
        rows += [
            [
                f"nats a token of such a gap's true codes, {books}, both sides in the prompt",
                _plain(nats["both_sides"]),
                "",
                "",
            ],
            ["the same, the left side alone", _plain(nats["left_alone"]), "", ""],
        ]
    far = going["frechet_db2"]
    rows.append(
        [
            "log-mel Fréchet distance from the true continuations",
            *(f"{far[name]:.0f} dB²" for name in ("made", "noise", "other melodies")),
        ]
    )
    head = ["", "`tiny-audiolm`", "chance", "the true sound through the codec"]
    nearer = filling["both_sides_nearer_by"]
    seconds = f"{result['prompt_s']:g} s heard and {result['made_s']:g} s made"
    fewer = " and ".join(_plain(nats["gained"]) for nats in filling["nats"].values())
    gained = f"{nearer['mean']:.2f} dB ({nearer['low']:.2f} to {nearer['high']:.2f})"
    note = (
        f"{result['melodies']} melodies that training never saw, {seconds}; in brackets 95 % intervals over melodies. "
        "Chance is the same continuations judged by other prompts' keys and tempi; of the Fréchet distance, white "
        "noise, and in the last column other melodies through the codec. A gap counts as the mean of "
        f"{result['draws']} fillings, from both sides each the one of {result['tries']} tries that what follows fits "
        f"best: nearer to what was there by {gained}. With both sides in the prompt its codes take {fewer} nats less. "
        f"{result['date']}; made by `python -m benchmarks.audiolm`."
    )
    return f"{table(head, rows, right=(1, 2, 3))}\n\n{note}"


def codes(result: dict[str, Any]) -> str:
    """How well each codebook is predicted, beside guessing."""
    test = result["test"]
    guessed = test["baselines"]
    rows = [
        [
            str(book),
            f"{nats:.2f}",
            *(f"{guessed[name]['cross_entropy'][book]:.2f}" for name in ("unigram", "copy_last")),
            *(f"{100 * test[name][book]:.0f} %" for name in ("top1", "top10")),
        ]
        for book, nats in enumerate(test["cross_entropy"])
    ]
    head = ["codebook", "`tiny-audiolm`", "unigram", "copy-last", "the likeliest is right", "one of ten is"]
    return table(head, rows, right=range(len(head)))


def _percent(found: dict[str, float]) -> str:
    return f"{100 * found['mean']:.0f} % ({100 * found['low']:.0f} to {100 * found['high']:.0f})"


def _plain(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _right(styling: dict[str, Any]) -> str:
    return f"{100 * styling['judge_right']:.0f} %"


def _decibels(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} dB ({found['low']:.2f} to {found['high']:.2f})"


def generate(result: dict[str, Any]) -> str:
    """Generation of VALL-E's size: how fast, and what the cache is worth."""
    settings, sound = result["settings"], result["sound_s"]
    rows = [
        ["codebook 0, by the AR half", f"{result['ar_s']:.1f} s", ""],
        ["codebooks 1 to 3, by the NAR half", f"{result['nar_s']:.1f} s", ""],
        ["both", f"{result['total_s']:.1f} s: {result['real_time']:.2f} times real time", "at least real time"],
        [
            "the AR half without its cache",
            f"{result['without_cache_ar_s']:.0f} s: {result['cache_times']:.0f} times",
            "10 times",
        ],
    ]
    head = [f"{settings['frames']} frames, {sound:g} s of sound", "measured", "the bar"]
    note = (
        f"{settings['d_model']} wide, {settings['layers']} + {settings['layers']} layers, "
        f"{settings['parameters'] / 1e6:.0f} million random weights in {settings['dtype']}, a prompt of "
        f"{settings['prompt']} frames; {settings['threads']} threads of {result['machine']['processor']}, torch "
        f"{result['versions']['torch']}, {result['date']}. The codec is apart; made by "
        "`python -m benchmarks.audiolm_generate`."
    )
    return f"{table(head, rows, right=(1, 2))}\n\n{note}"


def train(result: dict[str, Any]) -> str:
    """Training throughput beside plain torch."""
    settings = result["settings"]
    bars = {"equal": ("clips of 8 s", "level"), "unequal": ("clips of 2 to 15 s, ours in buckets", "1.3 times")}
    rows = [
        [
            label,
            f"{result[name]['auricle']:.1f}",
            *(f"{result[name][peer]:.1f}: {result[name]['times'][peer]:.2f} times" for peer in ("decoder", "joined")),
            bar,
        ]
        for name, (label, bar) in bars.items()
    ]
    head = [
        "seconds of sound a second",
        "`auricle train`",
        "`nn.TransformerDecoder`, the prompt as its memory",
        "`nn.TransformerEncoder` over prompt and target",
        "the bar, beside the first",
    ]
    note = (
        f"Both halves of a model {settings['width']} wide, {settings['layers']} + {settings['layers']} layers, AdamW, "
        f"products in bfloat16, {settings['seconds']:g} s a batch, {settings['threads']} threads of "
        f"{result['machine']['processor']}, torch {result['versions']['torch']}, {result['date']}; in turns, made by "
        "`python -m benchmarks.audiolm_train`."
    )
    return f"{table(head, rows, right=(1, 2, 3, 4))}\n\n{note}"
