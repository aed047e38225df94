"""From what callers give to a request of a backend: sounds at its rate, each short enough for one clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from auricle.api.sounds import pieces_of, read_sound
from auricle.backends import Backend
from auricle.errors import OptionError
from auricle.types import Ask, AskOptions, Audio, Message, Sampling, TermOptions


def ask_of(backend: Backend, messages: Sequence[Message], options: AskOptions) -> Ask:
    """A request, its sounds at the model's rate and short enough."""
    names = {*TermOptions.__annotations__, "trace"}
    terms: dict[str, Any] = {name: value for name, value in options.items() if name in names}
    sampling = Sampling(**{name: value for name, value in options.items() if name not in terms})  # type: ignore[arg-type]
    if not messages or messages[-1].role != "user":
        raise OptionError("the last message must be the user's: there is nothing to answer")
    notes: list[str] = []
    fitted = tuple(Message(message.role, tuple(_fit(backend, message.parts, notes))) for message in messages)
    return Ask(fitted, sampling, **terms, notes=tuple(notes))


def bare(backend: Backend, clip: Audio, options: AskOptions) -> Ask:
    """A request of one clip and no text, for models that are not asked but hear."""
    return ask_of(backend, [Message("user", (clip,))], options)


def _fit(backend: Backend, parts: Sequence[str | Audio], notes: list[str]) -> Iterator[str | Audio]:
    """Sounds at the model's rate, long ones in pieces, with a note for each that was cut."""
    for part in parts:
        if isinstance(part, str):
            yield part
            continue
        pieces = pieces_of(read_sound(part, backend.rate), backend.max_clip_seconds)
        if len(pieces) > 1:
            notes.append(
                f"{part.source} is {part.seconds:.1f} s long and was cut at pauses into {len(pieces)} clips "
                f"of at most {backend.max_clip_seconds:g} s"
            )
        yield from pieces
