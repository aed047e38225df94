"""Tables, once as cells: for people in the page, and with every number in full in CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from auricle.evaluation.analysis.estimates import Estimate, number, percent

RUN = "run"  # the title of the column that says whose a row is
Kind = Literal["text", "count", "share", "number", "ms", "p"]


@dataclass(frozen=True)
class Column:
    title: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Part:
    """A count among those of its row."""

    count: int
    share: float | None


@dataclass(frozen=True)
class Shown:
    """A cell as it is read: its words, what stands small below them, and what to know about it."""

    words: str
    below: str = ""
    note: str = ""
    numeric: bool = False
    shade: float | None = None  # from 0 to 1, of a cell that is filled by it


@dataclass(frozen=True)
class Table:
    key: str  # of its file
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]  # text, numbers, None, a Part, or an Estimate

    def visible(self, single: bool) -> list[Column]:
        """The columns that tell something in the page: of a single run, not its name; and none that is empty."""
        return [self.columns[place] for place in self._places(single)]

    def shown(self, most: int, single: bool) -> Iterable[list[Shown]]:
        """The first rows, for the page."""
        places = self._places(single)
        return [[_shown(self.columns[place].kind, row[place]) for place in places] for row in self.rows[:most]]

    def _places(self, single: bool) -> list[int]:
        return [
            place
            for place, column in enumerate(self.columns)
            if not (single and column.title == RUN) and any(row[place] != "" for row in self.rows)
        ]

    def csv(self) -> str:
        """With the ends of an interval in columns of their own."""
        wide = [any(isinstance(row[place], Estimate) for row in self.rows) for place in range(len(self.columns))]
        header = [
            name
            for column, ends in zip(self.columns, wide, strict=True)
            for name in ([column.title, f"{column.title} low", f"{column.title} high"] if ends else [column.title])
        ]
        with io.StringIO(newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(map(_harmless, header))
            for row in self.rows:
                writer.writerow([value for cell, ends in zip(row, wide, strict=True) for value in _values(cell, ends)])
            return stream.getvalue()


def _shown(kind: Kind, cell: Any) -> Shown:
    if isinstance(cell, Estimate):
        ends = [_words(kind, end).removesuffix(" %") for end in (cell.low, cell.high) if end is not None]
        return Shown(_words(kind, cell.value), " to ".join(ends), cell.note, numeric=True)
    if isinstance(cell, Part):
        return Shown(str(cell.count), "" if cell.share is None else percent(cell.share), "", True, cell.share)
    return Shown(_words(kind, cell), numeric=kind != "text")


def _words(kind: Kind, value: Any) -> str:
    if value is None:
        return "–"
    if kind == "share":
        return percent(value)
    if kind == "number":
        return number(value)
    if kind == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if kind == "ms":
        return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return str(value)


def _values(cell: Any, wide: bool) -> Sequence[Any]:
    if isinstance(cell, Estimate):
        return cell.value, cell.low, cell.high
    if isinstance(cell, Part):
        return (cell.count,)
    value = _harmless(cell) if isinstance(cell, str) else cell
    return (value, None, None) if wide else (value,)


def _harmless(text: str) -> str:
    """Text that a spreadsheet doesn't take for a formula: labels and file names come from anywhere."""
    return f"'{text}" if re.match(r"[=@\t\r]|[+-](?!\d)", text) else text
