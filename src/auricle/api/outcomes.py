"""What backends give, as callers get it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from auricle.errors import AuricleError, OptionError
from auricle.types import Answer, Audio, Chunk, Labels, TranscriptSegment


def segment_of(piece: Audio, answer: Answer) -> TranscriptSegment:
    end_s = piece.start_s + piece.seconds
    notes = tuple(f"from {piece.start_s:.1f} s to {end_s:.1f} s: {note}" for note in answer.notes)
    return TranscriptSegment(piece.source, piece.start_s, end_s, answer.text, notes)


def as_chunks(answers: Iterable[Answer | AuricleError]) -> Iterator[Chunk]:
    """Of a model that gives no text before all of it is there."""
    for answer in answers:
        if isinstance(answer, AuricleError):
            raise answer
        yield Chunk(answer.text, answer)


def chosen(own: Labels, wanted: Sequence[str]) -> Labels:
    """Of a head's labels those that are wanted, with the probabilities they have among all."""
    known = own.probabilities
    missing = next((name for name in wanted if name not in known), None)
    if missing is not None:
        some = ", ".join(sorted(known)[:10]) + (", ..." if len(known) > 10 else "")
        raise OptionError(f"the model has no label {missing!r} among its {len(known)}: {some}")
    return replace(own, labels=tuple(label for label in own.labels if label.name in set(wanted)))
