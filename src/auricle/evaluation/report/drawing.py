"""Matplotlib, held to what a page needs: one figure becomes a PNG of its own and an SVG that lives inside HTML."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from auricle.evaluation.optional import needed
from auricle.evaluation.report import theme

SIZE = (4.3, 3.1)  # inches: about the width of a phone, so that its words stay readable there
DPI = 200
# Words stay words in SVG; `$` in a label is no mathematics; the same figure gives the same bytes.
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "auricle",
    "text.parse_math": False,
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "axes.edgecolor": theme.MUTED,
    "axes.labelcolor": theme.INK,
    "axes.titlecolor": theme.INK,
    "text.color": theme.INK,
    "xtick.color": theme.MUTED,
    "ytick.color": theme.MUTED,
    "xtick.labelcolor": theme.INK,
    "ytick.labelcolor": theme.INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": theme.LINE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
LONGEST_NAME = 30
# What is no character in a page or a picture: control codes, and halves of pairs, as bytes that are no UTF-8 become.
_UNPRINTABLE = dict.fromkeys(
    {*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)} - {ord("\t"), ord("\n")}, "\ufffd"
)


@dataclass(frozen=True)
class Picture:
    """A picture, as it goes into the page and into a file."""

    key: str  # of its file, and of its place in the page
    title: str
    caption: str
    svg: str
    png: bytes


@cache
def colormap() -> Any:
    return needed("matplotlib", "a report").colormaps["viridis"]


class Canvas:
    """A figure that is being drawn, and the axes in it."""

    def __init__(self, size: tuple[float, float], rows: int, ratios: tuple[float, ...] | None) -> None:
        figure = needed("matplotlib.figure", "a report").Figure
        self.figure = figure(figsize=size, layout="constrained")
        grid = self.figure.subplots(rows, 1, sharex=True, height_ratios=ratios, squeeze=False)
        self.all = tuple(grid[:, 0])
        self.axes = self.all[0]

    def legend(self, names: list[tuple[Any, str]]) -> None:
        """Above the axes, so that it hides nothing."""
        if len(names) < 2:
            return
        handles, words = zip(*names, strict=True)
        # Matplotlib leaves out what begins with an underscore; a space without width in front of it helps.
        shown = [f"\u200b{shorter(word)}" if word.startswith("_") else shorter(word) for word in words]
        columns = max(1, min(len(shown), 56 // (max(map(len, shown)) + 6)))
        self.figure.legend(handles, shown, loc="outside upper left", ncols=columns, borderaxespad=0.2)

    def percents(self, axis: str = "y") -> None:
        """An axis of shares from 0 to 1, in percent."""
        one = getattr(self.axes, f"{axis}axis")
        getattr(self.axes, f"set_{axis}lim")(-0.02, 1.02)
        one.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])

    def finish(self, key: str, title: str, caption: str) -> Picture:
        with io.BytesIO() as png, io.StringIO() as svg:
            self.figure.savefig(
                png, format="png", dpi=DPI, facecolor=theme.PAGE["paper"][0], metadata={"Software": None}
            )
            self.figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
            return Picture(key, title, caption, _inline(svg.getvalue(), key, title), png.getvalue())


@contextmanager
def drawing() -> Iterator[None]:
    """Within it figures are drawn and saved as SETTINGS say, whatever the user's own settings are."""
    matplotlib = needed("matplotlib", "a report")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def canvas(size: tuple[float, float] = SIZE, rows: int = 1, ratios: tuple[float, ...] | None = None) -> Canvas:
    return Canvas(size, rows, ratios)


def printable(text: str) -> str:
    """Of what may stand in a page as it is, of the same type: HTML that is escaped already stays so."""
    return text.translate(_UNPRINTABLE)


def shorter(name: str, longest: int = LONGEST_NAME) -> str:
    """A name that fits: both of its ends, since models differ in either."""
    name = printable(" ".join(name.split()))
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _inline(svg: str, key: str, title: str) -> str:
    """A file's SVG as a part of HTML: no prologue, no names of its own that another picture might have too."""
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    head, _, rest = svg.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    width = re.search(r'width="([\d.]+)pt"', head)
    assert box is not None and width is not None, "matplotlib names the size of a drawing"
    rest = re.sub(r'\bid="', f'id="{key}-', rest)
    rest = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{key}-", rest)
    pixels = round(float(width[1]) * 96 / 72)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    opening = f'<svg role="img" aria-label="{label}" {box[0]} style="max-width: {pixels}px">'
    return theme.with_variables(opening + rest, theme.variables(colormap()))
