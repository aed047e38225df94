"""What a measurement gave, for a screen and as one flat JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from auricle.bench.run import MEASURES

# What a row of a table shows -> label, digits after the point.
ROWS = {
    "load_s": ("load, s", 2),
    "mel_s": ("mel, s", 3),
    "encoder_s": ("encoder, s", 2),
    "prefill_s": ("prefill, s", 2),
    "ttft_s": ("time to the first token, s", 2),
    "decode_tokens_per_s": ("decode, tokens/s", 1),
    "total_s": ("total, s", 2),
    "peak_rss_gb": ("peak memory, GB", 2),
}


def flat(result: dict[str, Any], name: str) -> dict[str, Any]:
    """The result of one of ours: its figures at the top, the peers' under `peers`."""
    engines = dict(result["engines"])
    own = engines.pop(name)
    about = {key: value for key, value in result.items() if key not in ("engines", "times_ahead")}
    machine = result["machine"]
    return {
        **own,
        "threads": result["settings"]["threads"],
        "features": machine["features"],
        "memory_gb_per_s": machine["memory_gb_per_s"],
        **about,
        "peers": engines,
        "times_ahead": result["times_ahead"].get(name, {}),
    }


def header(result: dict[str, Any]) -> list[str]:
    """The head of `rows`."""
    engines, ahead = list(result["engines"]), result["times_ahead"]
    return ["", *engines, *(_ahead_of(one, peer, ahead) for one in ahead for peer in ahead[one])]


def rows(result: dict[str, Any]) -> Iterator[Sequence[str]]:
    """A row a measure: each engine's median, then how many times ours is ahead of each peer."""
    ahead = result["times_ahead"]
    for measure, (label, digits) in ROWS.items():
        values = [_number(engine[measure], digits) for engine in result["engines"].values()]
        times = [_times(ahead[one][peer].get(measure)) for one in ahead for peer in ahead[one]]
        yield [label, *values, *times]


def machine_line(result: dict[str, Any]) -> str:
    """The machine, and how fast it reads memory."""
    machine, settings = result["machine"], result["settings"]
    rates = ", ".join(f"{rate:g} GB/s with {_threads(int(n))}" for n, rate in machine["memory_gb_per_s"].items())
    features = ", ".join(machine["features"]) or "none of the instructions looked for"
    card = f"; {machine['card']} reads its own at {machine['card_memory_gb_per_s']:g} GB/s" if "card" in machine else ""
    return f"{_threads(settings['threads'])} of {machine['processor']} ({features}) that reads memory at {rates}{card}"


def decode_line(result: dict[str, Any], name: str) -> str:
    """What decoding reads, and how near that is to the memory's limit."""
    engine = result["engines"][name]
    return (
        f"a decode step reads {engine['active_weight_gb']:.3g} GB of weights: at "
        f"{engine['decode_tokens_per_s']:.1f} tokens/s, {engine['bandwidth_share']:.0%} of the rate at which memory is "
        f"read; kernels for packed weights: {engine['kernels']}"
    )


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _ahead_of(one: str, peer: str, ahead: dict[str, Any]) -> str:
    return f"ahead of {peer}" if len(ahead) == 1 else f"{one} ahead of {peer}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _times(ratio: dict[str, Any] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f} times"


assert set(MEASURES) <= set(ROWS), "every measure is shown"
