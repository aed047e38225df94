"""Reading annotations: which part of which recording is what. Five formats, told apart by what is in the file.

ava       AVA-Speech: VIDEO,START,END,LABEL without a header
rttm      VoxConverse and other diarisation: SPEAKER NAME 1 START DURATION ...
esc50     ESC-50: a header with filename, fold, category, src_file; each file as a whole
audacity  Audacity's exported labels: START tab END tab LABEL; the recording is named as the file
csv       any table with a header: start, end, label, and file unless the recording is named as the table
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from auricle.errors import InputError, OptionError
from auricle.jobs.folder import readable

Format = Literal["auto", "ava", "rttm", "esc50", "audacity", "csv"]
ENDINGS = (".rttm", ".csv", ".tsv", ".txt")
AVA_LABELS = {"CLEAN_SPEECH", "SPEECH_WITH_MUSIC", "SPEECH_WITH_NOISE", "NO_SPEECH"}
RTTM_LABEL = "SPEECH"  # its lines name speakers; who speaks is not what is asked here


@dataclass(frozen=True)
class Span:
    """A stretch of a recording that is labelled."""

    recording: str  # its file, or the file's name without the extension
    start_s: float
    end_s: float  # infinity: to the recording's end
    label: str  # the annotation's own word
    source: str  # what the recording itself comes from; the recording unless the annotation knows better


def read_annotations(paths: Sequence[str | Path], kind: Format = "auto", offset_s: float = 0.0) -> list[Span]:
    """The spans of some files, and of all annotations in folders.

    Args:
        offset_s: added to every time, where recordings start later than the annotation's clock: -900 for AVA movies
            that were fetched from minute 15 on.

    Raises:
        InputError: a file isn't there, is in no known format, or has a line that can't be read.
    """
    if kind not in get_args(Format):
        raise OptionError(f"format is {kind!r}; it must be {', '.join(get_args(Format))}")
    if not math.isfinite(offset_s):
        raise OptionError(f"offset is {offset_s}; it must be a number of seconds")
    spans = [span for path in _files(paths) for span in _read(path, kind)]
    if not spans:
        raise InputError("the annotations have no spans: give files with at least one")
    return [
        Span(s.recording, s.start_s + offset_s, s.end_s + offset_s, s.label, s.source) if s.end_s < math.inf else s
        for s in spans
    ]


def _files(paths: Sequence[str | Path]) -> Iterator[Path]:
    if not paths:
        raise InputError("no annotation given: name files, or folders of them")
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
        if not found:
            raise InputError(f"folder {path} has no annotations in it ({', '.join(ENDINGS)}); name another, or files")
        yield from found


def _read(path: Path, kind: Format) -> list[Span]:
    with readable(path, str(path), "there are no annotations"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        return []
    found = _guessed(path, numbered[0][1]) if kind == "auto" else kind
    return list(_READERS[found](path, numbered))


def _guessed(path: Path, first: str) -> str:
    """The format, from the file's ending and its first line."""
    if path.suffix.lower() == ".rttm" or first.startswith("SPEAKER "):
        return "rttm"
    header = {word.strip().lower() for word in first.replace("\t", ",").replace(";", ",").split(",")}
    if {"filename", "category", "src_file"} <= header:
        return "esc50"
    if {"start", "end"} <= header:
        return "csv"
    cells = first.split(",")
    if len(cells) == 4 and cells[3].strip() in AVA_LABELS:
        return "ava"
    tabbed = first.split("\t")
    if len(tabbed) >= 2 and _is_number(tabbed[0]) and _is_number(tabbed[1]):
        return "audacity"
    raise InputError(
        f"{path} is in no format that is known ({first[:60]!r}): name one with --format, or give a table with the "
        "header file,start,end,label"
    )


Lines = Sequence[tuple[int, str]]


def _ava(path: Path, lines: Lines) -> Iterator[Span]:
    for number, line in lines:
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 4:
            raise _unreadable(path, number, "VIDEO,START,END,LABEL")
        yield _span(path, number, cells[0], cells[1], cells[2], cells[3])


def _rttm(path: Path, lines: Lines) -> Iterator[Span]:
    for number, line in lines:
        cells = line.split()
        if cells[0] != "SPEAKER":  # comments, and facts about speakers
            continue
        if len(cells) < 5 or not _is_number(cells[3]) or not _is_number(cells[4]):
            raise _unreadable(path, number, "SPEAKER NAME CHANNEL START DURATION ...")
        start = float(cells[3])
        yield _span(path, number, cells[1], cells[3], str(start + float(cells[4])), RTTM_LABEL)


def _esc50(path: Path, lines: Lines) -> Iterator[Span]:
    """Of one recording of Freesound there are several clips: they are one source."""
    for number, row in _table(path, lines, ("filename", "category", "src_file")):
        yield Span(row["filename"], 0.0, math.inf, row["category"], row["src_file"] or row["filename"])
        if not row["filename"] or not row["category"]:
            raise _unreadable(path, number, "filename,fold,target,category,esc10,src_file,take")


def _audacity(path: Path, lines: Lines) -> Iterator[Span]:
    for number, line in lines:
        if line.startswith("\\"):  # the frequencies of the label before
            continue
        cells = line.split("\t")
        if len(cells) < 2:
            raise _unreadable(path, number, "START tab END tab LABEL")
        yield _span(path, number, path.stem, cells[0], cells[1], cells[2] if len(cells) > 2 else "")


def _csv(path: Path, lines: Lines) -> Iterator[Span]:
    for number, row in _table(path, lines, ("start", "end", "label")):
        recording = row.get("file") or path.stem
        yield _span(path, number, recording, row["start"], row["end"], row["label"], row.get("source") or "")


_READERS: dict[str, Callable[[Path, Lines], Iterator[Span]]] = {
    "ava": _ava, "rttm": _rttm, "esc50": _esc50, "audacity": _audacity, "csv": _csv,
}  # fmt: skip


def _table(path: Path, lines: Lines, wanted: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table with a header, separated by commas, tabs or semicolons."""
    header = lines[0][1]
    separator = max(",\t;", key=header.count)
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=separator))]
    if missing := [name for name in wanted if name not in names]:
        raise InputError(f"{path} has no column {missing[0]!r} (its columns: {', '.join(names)[:100]}): name one so")
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise InputError(f"{path} has two columns called {twice[0]!r}: rename one")
    for number, line in lines[1:]:
        cells = next(csv.reader([line], delimiter=separator))
        if len(cells) != len(names):
            raise InputError(f"{path}, line {number}, has {len(cells)} cells, and the header {len(names)}: mend it")
        yield number, dict(zip(names, (cell.strip() for cell in cells), strict=True))


def _span(path: Path, number: int, recording: str, start: str, end: str, label: str, source: str = "") -> Span:
    if not _is_number(start) or not _is_number(end):
        raise InputError(f"{path}, line {number}, goes from {start!r} to {end!r}, which are no seconds: mend it")
    if float(end) < float(start):
        raise InputError(f"{path}, line {number}, ends at {end} s, before it starts at {start}: mend it")
    if not recording or not label.strip():
        raise InputError(f"{path}, line {number}, has no {'label' if recording else 'recording'}: give it one")
    return Span(recording, float(start), float(end), label.strip(), source or recording)


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _unreadable(path: Path, number: int, form: str) -> InputError:
    return InputError(f"{path}, line {number}, is not {form}: mend it, or name another format with --format")
