"""Colours, once for pictures and page: a picture is drawn in the light ones, which the page then swaps for variables.

The colours of runs are those of Okabe & Ito (2008), which colour-blind readers tell apart; markers and dashes help.
"""

from __future__ import annotations

import re
from typing import Any

# name -> in light, in dark
PAGE = {
    "paper": ("#ffffff", "#14171c"),
    "card": ("#f6f7f9", "#1c2027"),
    "ink": ("#1f2430", "#e8eaee"),
    "muted": ("#5d6574", "#a2aab8"),
    "line": ("#d9dde4", "#353b46"),
    "link": ("#0a5c9e", "#7cc0f5"),
    "warn": ("#fff4d6", "#3a3013"),
    "warn-line": ("#e0b23c", "#8f7428"),
}
SERIES = (
    ("#0072b2", "#4ba6e6"),  # blue
    ("#d55e00", "#ff8d50"),  # vermilion
    ("#009e73", "#33c79b"),  # bluish green
    ("#cc79a7", "#e7a0c9"),  # reddish purple
    ("#e69f00", "#f4bd55"),  # orange
    ("#56b4e9", "#93d0f6"),  # sky blue
    ("#565e6b", "#aab3c1"),  # grey
)
MARKERS = "osD^vP*X"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
# From viridis, its darkest left out on dark paper and its lightest on light.
STEPS = 10
LIGHT_STEPS, DARK_STEPS = (0.0, 0.82), (0.28, 1.0)
INK, MUTED, LINE = PAGE["ink"][0], PAGE["muted"][0], PAGE["line"][0]
DOTTED: dict[str, Any] = {"color": MUTED, "linewidth": 1, "linestyle": (0, (1, 2))}  # what a guesser would come to


def colour(number: int) -> str:
    """Of a run, as it is drawn."""
    return SERIES[number % len(SERIES)][0]


def marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]


def dash(number: int) -> Any:
    return DASHES[number % len(DASHES)]


def steps(colormap: Any, span: tuple[float, float]) -> list[str]:
    """Colours of ordered levels, as hexadecimal words."""
    low, high = span
    values = [colormap(low + (high - low) * step / (STEPS - 1)) for step in range(STEPS)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in value[:3]) for value in values]


def step(colormap: Any, place: int, count: int) -> str:
    """Of one of `count` ordered levels, as it is drawn."""
    return steps(colormap, LIGHT_STEPS)[round(place * (STEPS - 1) / max(1, count - 1))]


def variables(colormap: Any) -> dict[str, tuple[str, str]]:
    """Every colour of the page by its variable's name: in light, in dark."""
    ordered = zip(steps(colormap, LIGHT_STEPS), steps(colormap, DARK_STEPS), strict=True)
    return {
        **PAGE,
        **{f"run-{number}": pair for number, pair in enumerate(SERIES)},
        **{f"step-{number}": pair for number, pair in enumerate(ordered)},
    }


def with_variables(svg: str, names: dict[str, tuple[str, str]]) -> str:
    """A drawing whose colours are the page's."""
    found = {light: name for name, (light, _) in names.items() if name not in ("paper", "card")}
    return re.sub(r"#[0-9a-f]{6}\b", lambda one: f"var(--{found[one[0]]})" if one[0] in found else one[0], svg)
