"""The tables of the README and of the card of `tiny`, made from `benchmarks/results/*.json` and never by hand.

    python -m benchmarks.tables

rewrites what stands between `<!-- table: NAME -->` and `<!-- /table -->`; a test holds the pages to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "models" / "tiny.md")


def main() -> None:
    for page in PAGES:
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


def rewritten(page: str, results: Path = RESULTS) -> str:
    """The page with every table made anew whose results exist."""
    for name, (stem, make) in TABLES.items():
        path = results / f"{stem}.json"
        if path.is_file():
            table = make(json.loads(path.read_text(encoding="utf-8")))
            block = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- /table -->)", re.DOTALL)
            page = block.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", page)
    return page


def e2b(result: dict[str, Any]) -> str:
    settings, machine, versions = result["settings"], result["machine"], result["versions"]
    ours, theirs = result["engines"]["auricle"], result["engines"]["transformers"]
    ahead = {measure: f"{times['median']:.1f} times" for measure, times in result["times_ahead"].items()}
    rows = [
        (f"{label}, s", f"{ours['median'][measure]:.2f}", f"{theirs['median'][measure]:.2f}", ahead[measure])
        for measure, label in {
            "mel_s": "mel",
            "encoder_s": "encoder",
            "prefill_s": f"prefill of {settings['prompt_tokens']} tokens",
            "ttft_s": "**time to the first token**",
        }.items()
    ]
    speeds = (f"{engine['median']['decode_tokens_per_s']:.1f}" for engine in (ours, theirs))
    rows.append(("**decode**, tokens/s", *speeds, ahead["decode_tokens_per_s"]))
    rows.append(("loading, s", f"{ours['load_s']:.1f}", f"{theirs['load_s']:.1f}", ""))
    rows.append(("peak memory, GB", f"{ours['peak_rss_gb']:.1f}", f"{theirs['peak_rss_gb']:.1f}", ""))
    head = (f"{settings['audio_s']} s of sound", "Auricle", f"transformers {versions['transformers']}", "ahead")
    speed = list(machine["memory_gb_per_s"].values())[-1]
    bf16 = "with" if {"avx512_bf16", "amx_bf16", "bf16"} & set(machine["features"]) else "without"
    note = (
        f"Gemma 4 {settings['size'].upper()} with random weights in {settings['dtype']}, {settings['threads']} threads "
        f"of {machine['processor']} {bf16} bfloat16 instructions that reads memory at {speed:.0f} GB/s, torch "
        f"{versions['torch']}, {result['date']}. Medians of {settings['runs']} pairs, both engines in turns on the "
        "same sound and prompt; made by `python -m benchmarks.e2b`."
    )
    return f"{_table(head, rows, right=(1, 2, 3))}\n\n{note}"


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
    return f"{_table(('a fresh process', 'takes', 'at most'), rows, right=(1, 2))}\n\n{note}"


def tiny(result: dict[str, Any]) -> str:
    """What the bars are about; the card has all of it."""
    return tiny_card({"rows": [row for row in result["rows"] if row["bar"]]})


def tiny_card(result: dict[str, Any]) -> str:
    rows = [(row["measure"], row["value"], row["bar"]) for row in result["rows"]]
    return _table(("`tiny` on held-out voices and sentences", "measured", "the bar"), rows, right=(1, 2))


# name in a page -> the stem of its results, and what makes it
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "e2b": ("e2b", e2b),
    "tiny": ("tiny", tiny),
    "tiny_card": ("tiny", tiny_card),
    "start": ("start", start),
}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    line = ["---:" if i in right else "---" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, line, *rows])


if __name__ == "__main__":
    main()
