"""The tables of the README and of the card of `tiny`, made from `benchmarks/results/*.json` and never by hand.

    python -m benchmarks.tables

rewrites what stands between `<!-- table: NAME -->` and `<!-- /table -->`; a test holds the pages to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import audiolm_tables
from benchmarks.markdown import table

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CARDS = ROOT / "docs" / "models"
PAGES = (
    ROOT / "README.md",
    *(CARDS / f"{name}.md" for name in ("tiny", "tiny-codec", "tiny-audiolm")),
    *(ROOT / "docs" / f"{name}.md" for name in ("continue", "train")),
)


def main() -> None:
    for page in PAGES:
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


def rewritten(page: str, results: Path = RESULTS) -> str:
    """The page with every table made anew whose results exist."""
    for name, (stem, make) in TABLES.items():
        path = results / f"{stem}.json"
        if path.is_file():
            made = make(json.loads(path.read_text(encoding="utf-8")))
            block = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- /table -->)", re.DOTALL)
            page = block.sub(lambda match, made=made: f"{match[1]}{made}\n{match[2]}", page)
    return page


def e2b(result: dict[str, Any]) -> str:
    engines, ahead = result["engines"], result["times_ahead"]
    first = next(iter(ahead))  # the scheme that is compared
    rows = []
    for measure, (label, digits) in {
        "mel_s": ("mel, s", 2),
        "encoder_s": ("encoder, s", 2),
        "prefill_s": (f"prefill of {engines[first]['prompt_tokens']} tokens, s", 2),
        "ttft_s": ("**time to the first token**, s", 2),
        "decode_tokens_per_s": ("**decode**, tokens/s", 1),
        "load_s": ("loading, s", 1),
        "peak_rss_gb": ("peak memory, GB", 1),
    }.items():
        figures = ("" if engine[measure] is None else f"{engine[measure]:.{digits}f}" for engine in engines.values())
        times = (peer.get(measure) for peer in ahead[first].values())
        rows.append([label, *figures, *(f"{ratio['median']:.1f} times" if ratio else "" for ratio in times)])
    head = [
        f"{result['settings']['seconds']:g} s of sound",
        *(_engine(name, engine, name in ahead) for name, engine in engines.items()),
        *(f"{first} ahead of {peer}" for peer in ahead[first]),
    ]
    return f"{table(head, rows, right=range(1, len(head)))}\n\n{_conditions(result)}"


def _engine(name: str, engine: dict[str, Any], ours: bool) -> str:
    """The head of an engine's column: what it is, and how its weights are stored."""
    if ours:
        return f"Auricle {name}"
    stored = {"bfloat16": "bf16"}.get(engine["dtype"], engine["dtype"].split()[-1])
    return f"{name} {stored}"


def _conditions(result: dict[str, Any]) -> str:
    """On what machine, how near to its limit, with what, when."""
    settings, machine, engines = result["settings"], result["machine"], result["engines"]
    own = {name: engines[name] for name in result["times_ahead"]}
    peers = ", ".join(f"{name} {engine['version']}" for name, engine in engines.items() if name not in own)
    rate = list(machine["memory_gb_per_s"].values())[-1]
    reads = ", ".join(
        f"{engine['active_weight_gb']:.2f} GB in {name} ({engine['bandwidth_share']:.0%} of that rate)"
        for name, engine in own.items()
    )
    remarks = "".join(f" Note: {remark}." for remark in result["notes"])
    return (
        f"Gemma 4 E2B's size with random weights, {settings['threads']} threads of {machine['processor']} "
        f"({', '.join(machine['features'])}) that read memory at {rate:.0f} GB/s. A decode step has to read {reads}. "
        f"torch {result['versions']['torch']}, {peers}, {result['date']}. Medians of {settings['runs']} rounds, all "
        "engines in turns on the same sound; memory counts mapped pages; made by `python -m benchmarks.e2b`."
        f"{remarks}"
    )


def qwen2_audio(result: dict[str, Any]) -> str:
    engine, settings, machine = result["engines"]["int4"], result["settings"], result["machine"]
    rate = list(machine["memory_gb_per_s"].values())[-1]
    rows = [
        ["encoder, 30 s of sound", f"{engine['encoder_s']:.2f} s"],
        [f"prefill of {engine['prompt_tokens']} tokens", f"{engine['prefill_s']:.2f} s"],
        ["time to the first token", f"{engine['ttft_s']:.2f} s"],
        ["decode", f"{engine['decode_tokens_per_s']:.1f} tokens/s"],
        ["loading", f"{engine['load_s']:.1f} s"],
        ["peak memory, mapped pages included", f"{engine['peak_rss_gb']:.1f} GB"],
    ]
    for seconds, one in result["encoder"].items():
        times = f"{one['auricle_s']:.2f} s to transformers' {one['transformers_s']:.2f} s"
        rows.append(
            [f"encoder alone in float32, {seconds} s of sound: {times}", f"{one['times_ahead']:.1f} times ahead"]
        )
    apart = max(one["largest_difference"] for one in result["encoder"].values())
    note = (
        f"Random weights of the 7B's size, {settings['threads']} threads of {machine['processor']} "
        f"({', '.join(machine['features'])}) that read memory at {rate:.0f} GB/s; a decode step has to read "
        f"{engine['active_weight_gb']:.2f} GB ({engine['bandwidth_share']:.0%} of that rate). The encoders share their "
        f"weights, and differ by {apart:.1g} at most. torch {result['versions']['torch']}, {result['date']}. Medians "
        f"of {settings['runs']} rounds; made by `python -m benchmarks.qwen2_audio`."
        + "".join(f" Note: {remark}." for remark in result["notes"])
    )
    return f"{table(['Qwen2-Audio-7B in int4', 'measured'], rows, right=[1])}\n\n{note}"


def embed(result: dict[str, Any]) -> str:
    settings, machine = result["settings"], result["machine"]
    clips, seconds = settings["clips"], settings["seconds"]
    (few, few_gb), (many, many_gb) = result["peak_gb"].items()
    times = f"{result['auricle_s']:.2f} s; a plain transformers loop: {result['transformers_s']:.2f} s"
    rows = [
        [
            f"`auricle embed`: {times}",
            f"{result['times_ahead']:.1f} times",
            "at least 1.5 times",
        ],
        [f"peak memory over {few} clips, and over {many}", f"{few_gb:.2f} GB, {many_gb:.2f} GB", "flat"],
    ]
    apart = result["largest_difference"]
    note = (
        f"Mean-pooled audio tokens of `tiny`, {settings['threads']} threads of {machine['processor']}, "
        f"torch {result['versions']['torch']}, {result['date']}; the vectors differ by {apart:.1g} at most. "
        f"Medians of {settings['runs']} rounds in turns; made by `python -m benchmarks.embed`."
    )
    head = [f"{clips} clips of {seconds:g} s", "measured", "the bar"]
    return f"{table(head, rows, right=[1, 2])}\n\n{note}"


def evaluation(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    rows = []
    for model, kinds in result["median"].items():
        for lengths, seen in kinds.items():
            rows.append(
                [
                    f"`{model}`",
                    lengths,
                    f"{seen['auricle']:.0f} clips/s",
                    f"{result['bars'][model]} clips/s",
                    f"{seen['loop']:.0f} clips/s",
                    f"{seen['times']:.1f} times",
                ]
            )
    note = (
        f"{settings['clips']} wav files from reading to rows on the disk, `tiny` asked with both orders of the labels; "
        f"{settings['threads']} of {machine['cores']} cores of {machine['processor']}, "
        f"torch {result['versions']['torch']}, {result['date']}, load average before it {machine['load_average']}. "
        "The loops ask about one clip after the other, by `model.classify` and by Silero's own model. "
        f"Medians of {settings['runs']} rounds in turns, each with other clips; made by `python -m benchmarks.eval`."
    )
    head = ["`auricle eval`", "clips of", "measured", "the bar", "a plain loop", "ahead"]
    return f"{table(head, rows, right=range(2, len(head)))}\n\n{note}"


def serve(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    rows = []
    for kind, servers in result["median"].items():
        alone = servers["one at a time"]["requests_per_s"]
        for name, seen in servers.items():
            rows.append(
                [
                    kind,
                    name,
                    f"{seen['requests_per_s']:.1f}",
                    f"{seen['requests_per_s'] / alone:.1f} times",
                    f"{seen['tokens_per_s']:.0f}",
                    f"{1000 * seen['ttft_p50_s']:.0f} ms",
                    f"{1000 * seen['ttft_p95_s']:.0f} ms",
                ]
            )
    note = (
        f"`tiny` on {machine['processor']}, two cores that the clients share, torch {result['versions']['torch']}, "
        f"{result['date']}. {settings['clients']} clients at once for {settings['seconds']:g} s, each with its next "
        "request as soon as it has an answer; time to the first token is as they see it, waiting included. No request "
        "failed. "
        "Made by `python -m benchmarks.serve`."
    )
    runs = [run for servers in result["runs"].values() for kind in servers.values() for run in kind]
    assert all(set(run["statuses"]) == {"200"} and not run["broken_off"] for run in runs), "the note says so"
    head = ["requests", "server", "requests/s", "to one at a time", "tokens/s", "TTFT, median", "TTFT, 95 %"]
    return f"{table(head, rows, right=range(2, len(head)))}\n\n{note}"


def start(result: dict[str, Any]) -> str:
    machine, seconds = result["machine"], result["median"]
    share = f"{result['share_of_importing_torch']:.0%}"
    rows = [
        ("`auricle ask` with `tiny`, from its start to its last word", f"{seconds['ask_s']:.2f} s", "4 s"),
        ("of that, importing torch", f"{seconds['import_torch_s']:.2f} s ({share})", ""),
        ("`auricle --help`", f"{seconds['help_s']:.2f} s", "0.3 s"),
    ]
    note = (
        f"Medians of {result['settings']['runs']} fresh processes on {machine['cores']} cores of "
        f"{machine['processor']}, {result['date']}; made by `python -m benchmarks.tiny`."
    )
    return f"{table(('a fresh process', 'takes', 'at most'), rows, right=(1, 2))}\n\n{note}"


def quality(result: dict[str, Any]) -> str:
    words, errors = result["words"], result["logits"]["relative_errors"]
    rows = []
    for scheme in dict.fromkeys([*words["schemes"], *errors]):
        found, error = words["schemes"].get(scheme), errors.get(scheme)
        cost = f"{found['cost_points']:+.1f} points" if found and "cost_points" in found else ""
        bar = f"{found['at_most_points']:g} points" if found and "at_most_points" in found else ""
        rate = f"{100 * found['word_error_rate']:.1f} %" if found else ""
        shares = [f"{100 * error[at]:.1f} %" for at in ("prompt", "decode")] if error else ["", ""]
        rows.append([scheme, rate, cost, bar, *shares])
    head = ["weights", "word error rate of `tiny`", "cost", "at most", "logits after the prompt", "logits in decoding"]
    note = (
        f"Word error rate over {words['words']} words that `tiny` never heard in training, on the same clips. Logits: "
        f"relative error ||l - l_ref|| / ||l_ref|| with random weights of {result['logits']['preset']}'s size and "
        f"{result['logits']['seconds']:g} s of sound, against {result['logits']['reference']}. A random "
        f"network amplifies any rounding, as the row of bf16 shows, whose weights are exact. {result['date']}; made "
        "by `python -m benchmarks.quality`."
    )
    return f"{table(head, rows, right=range(1, len(head)))}\n\n{note}"


def live(result: dict[str, Any]) -> str:
    found, settings, machine = result["median"], result["settings"], result["machine"]
    live, score, newcomer, at_once = (found[name] for name in ("live", "score", "newcomer", "at_once"))
    at, alone = f"{settings['seconds']:g} s", at_once["alone_tokens_per_s"]
    rows = [
        (
            f"live: first token after the last sample of {at}",
            f"{live['first_token_after_last_sample_s']:.2f} s",
            "at most 0.5 s",
        ),
        (
            "the encoder in live steps of 0.5 s, of real time",
            f"{live['encoder_real_time_factor']:.3f}",
            "at most 0.1",
        ),
        ("all of a live session's work, of real time", f"{live['real_time_factor']:.3f}", ""),
        *(
            (
                f"{label}: time to the first token {one['second_ttft_s']:.2f} s after {one['first_ttft_s']:.2f} s",
                f"{one['times_shorter']:.1f} times shorter",
                bar,
            )
            for label, one, bar in (
                (f"the next turn about {at} of sound", found["next_turn"], "at least 8 times"),
                ("a second question, the audio first", found["audio_first"], "at least 8 times"),
                ("a second question, the text first", found["text_first"], "at least 1.3 times"),
            )
        ),
        (
            f"{settings['together']} answers at once: {at_once['together_tokens_per_s']:.0f} tokens/s to {alone:.0f}",
            f"{at_once['times']:.1f} times",
            "at least 2.2 times",
        ),
        (
            f"a newcomer with {at} of sound delays a running answer's next token by",
            f"{newcomer['delay_s']:.2f} s",
            "at most 0.3 s",
        ),
        (
            f"scores of 5 one-word choices: {score['choices_s']:.2f} s beside a prefill of {score['prefill_s']:.2f} s",
            f"{score['times_prefill']:.2f} prefills",
            "at most 1.3",
        ),
    ]
    rates = machine["memory_gb_per_s_in_rounds"]
    note = (
        f"Gemma 4 E2B's size with random weights in {settings['scheme']}, {settings['threads']} threads of "
        f"{machine['processor']} ({', '.join(machine['features'])}) that read memory at {min(rates):.0f} to "
        f"{max(rates):.0f} GB/s; torch {result['versions']['torch']}, {result['date']}. Medians of {settings['runs']} "
        "rounds, each with sounds of its own; made by `python -m benchmarks.live`."
    )
    return f"{table(('live, again, at once', 'measured', 'the bar'), rows, right=(1, 2))}\n\n{note}"


def tiny(result: dict[str, Any]) -> str:
    """What the bars are about; the card has all of it."""
    return tiny_card({"rows": [row for row in result["rows"] if row["bar"]]})


def tiny_card(result: dict[str, Any]) -> str:
    rows = [(row["measure"], row["value"], row["bar"]) for row in result["rows"]]
    return table(("`tiny` on held-out voices and sentences", "measured", "the bar"), rows, right=(1, 2))


# name in a page -> the stem of its results, and what makes it
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "e2b": ("e2b", e2b),
    "live": ("live", live),
    "embed": ("embed", embed),
    "quality": ("quality", quality),
    "qwen2_audio": ("qwen2_audio", qwen2_audio),
    "tiny": ("tiny", tiny),
    "tiny_card": ("tiny", tiny_card),
    "eval": ("eval", evaluation),
    "serve": ("serve", serve),
    "start": ("start", start),
    "codec": ("codec", audiolm_tables.codec),
    "audiolm": ("audiolm", audiolm_tables.audiolm),
    "audiolm_codes": ("audiolm", audiolm_tables.codes),
    "audiolm_generate": ("audiolm_generate", audiolm_tables.generate),
    "audiolm_train": ("audiolm_train", audiolm_tables.train),
}


if __name__ == "__main__":
    main()
