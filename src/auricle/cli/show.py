"""Printing: answers and JSON to stdout; notes, timings and traces to stderr. rich only where there is a terminal."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Protocol, TextIO

from auricle.types import Answer, Chunk

# What a model writes could drive a terminal; tabs and line breaks are all it needs.
_CONTROL = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")})


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Says on a terminal what takes so long, and leaves nothing behind."""
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.console import Console

    with Console(file=sys.stderr).status(what):
        yield


class Progress(Protocol):
    """What is called when more is done, and with other words where they change."""

    def __call__(self, done: int, whole: int, words: str | None = None) -> None: ...


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Shows on a terminal how much is done, and leaves nothing behind. What it gives is called with (done, whole)."""
    if not is_terminal(sys.stderr):
        yield lambda done, whole, words=None: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, whole, words=None: bar.update(task, completed=done, total=whole, description=words or what)


def stream(chunks: Iterator[Chunk]) -> Answer:
    """Prints an answer as it comes, and exactly `answer.text` in the end; a line that was begun is always ended."""
    with waiting("listening"):
        first = next(chunks)
    begun, held = False, ""  # held: white space that may turn out to be the answer's end
    answer = None
    try:
        for chunk in chain([first], chunks):
            answer = chunk.answer
            text = held + chunk.text if begun else chunk.text.lstrip()
            shown = text.rstrip()
            held = text[len(shown) :]
            if shown:
                begun = True
                print(_printable(shown), end="", flush=True)
    finally:
        if begun or answer is not None:
            print(flush=True)
    assert answer is not None, "a stream ends with its answer"
    if not answer.text:
        note("the answer is empty")
    return answer


def finish(chunks: Iterator[Chunk]) -> Answer:
    """Waits for the answer without printing it."""
    answer = None
    with waiting("listening"):
        for chunk in chunks:
            answer = chunk.answer
    assert answer is not None, "a stream ends with its answer"
    return answer


def changing_line(words: str) -> None:
    """On a terminal a line on stderr that the next one replaces, its end if it is long; elsewhere a line each."""
    if is_terminal(sys.stderr):
        width = shutil.get_terminal_size().columns - 1
        _tell(f"\r\x1b[K{one_line(words)[-width:]}", end="")
    elif words:
        _tell("...", one_line(words))


def line(words: str) -> None:
    """One result to stdout."""
    print(_printable(words), flush=True)


def part(words: str) -> None:
    """A part of a line to stdout, at once."""
    print(_printable(words), end="", flush=True)


def as_json(record: dict[str, Any]) -> None:
    """One JSON object to stdout, on a line of its own; a number that JSON has no word for becomes null."""
    print(json.dumps(_finite(record), ensure_ascii=False, allow_nan=False), flush=True)


def note(message: str) -> None:
    """Something the user should know, to stderr."""
    _tell("note:", one_line(message))


def complain(message: str) -> None:
    """An error, to stderr."""
    _tell("auricle:", one_line(message))


def _tell(*words: str, end: str = "\n") -> None:
    """To stderr; where that is closed, nowhere: `print` would take stdout instead."""
    if sys.stderr is not None:
        print(*words, file=sys.stderr, end=end, flush=True)


def one_line(message: str) -> str:
    """A message without the line breaks that a library or a file's name has put into it."""
    return " ".join(message.splitlines()).translate(_CONTROL)


def wants_timings(asked: bool | None) -> bool:
    """Whether to show timings: as asked, and if nothing was, on a terminal."""
    return is_terminal(sys.stderr) if asked is None else asked


def timings(answer: Answer, load_s: float | None = None) -> None:
    """Where the time of a request went, in one line on stderr; loading the model where it belongs to the request."""
    timings = answer.timings
    parts = [f"loading {_duration(load_s)}"] if load_s is not None else []
    parts += [
        f"mel {_duration(timings.mel_s)}",
        f"encoder {_duration(timings.encoder_s)}",
        f"prefill {_duration(timings.prefill_s)}{_spared(answer)}",
        f"first token after {_duration(timings.ttft_s)}",
        f"decode {timings.decode_tokens_per_s:.1f} tokens/s",
        f"total {_duration(timings.total_s)}",
    ]
    _tell(", ".join(parts))


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]], stream: TextIO) -> None:
    """A table: drawn by rich on a terminal, in plain aligned columns elsewhere, where grep and awk read it."""
    cells = [[_cell(value) for value in row] for row in rows]
    if is_terminal(stream):
        _rich_table(title, header, cells, stream)
        return
    lines = [list(header), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    print(f"# {title}", file=stream)
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), file=stream)
    print(file=stream)


def _rich_table(title: str, header: Sequence[str], cells: list[list[str]], stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(header):
        numeric = bool(cells) and all(row[i][:1].isdigit() or row[i][:1] == "-" for row in cells)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))  # Text: square brackets in a cell are no markup
    Console(file=stream).print(drawn)


def size(count: int) -> str:
    """Bytes for people: 16.0 MB."""
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{count} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


def counted(count: int, noun: str) -> str:
    """`1 sound`, `2 sounds`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def percent(fraction: float | None) -> str:
    """For people: 8.13 %; None is an empty cell."""
    return "" if fraction is None else f"{100 * fraction:.2f} %"


def _spared(answer: Answer) -> str:
    """What of the prompt had been read before."""
    return f" ({answer.reused_tokens} of {answer.prompt_tokens} tokens reused)" if answer.reused_tokens else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).translate(_CONTROL)


def _printable(words: str) -> str:
    return words.translate(_CONTROL) if is_terminal(sys.stdout) else words


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
