"""What backends give, as callers get it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from auricle.errors import AuricleError, OptionError, SoundError
from auricle.types import Answer, Audio, Chunk, Labels, Transcript, TranscriptSegment


def segment_of(piece: Audio, answer: Answer) -> TranscriptSegment:
    end_s = piece.start_s + piece.seconds
    notes = tuple(f"from {piece.start_s:.1f} s to {end_s:.1f} s: {note}" for note in answer.notes)
    return TranscriptSegment(piece.source, piece.start_s, end_s, answer.text, notes)


def transcript_of(found: Iterable[TranscriptSegment]) -> Transcript:
    """The pieces of one sound as one text."""
    segments = tuple(found)
    text = " ".join(segment.text for segment in segments if segment.text)
    return Transcript(text, segments, tuple(note for segment in segments for note in segment.notes))


def transcripts_of(
    cut: deque[list[Audio] | SoundError], answers: Iterable[Answer | AuricleError]
) -> Iterator[Transcript | AuricleError]:
    """One transcript or error for each sound that was cut, from the answers to all pieces in order.

    Args:
        cut: the pieces of each sound, or why it has none; it grows while answers are taken, and is emptied.
    """
    met: list[Answer | AuricleError] = []
    for answer in answers:
        while isinstance(pieces := cut[0], SoundError):
            cut.popleft()
            yield pieces
        met.append(answer)
        if len(met) == len(pieces):
            cut.popleft()
            wrong = next((one for one in met if isinstance(one, AuricleError)), None)
            both = zip(pieces, met, strict=True)
            yield wrong or transcript_of(segment_of(piece, one) for piece, one in both if isinstance(one, Answer))
            met = []
    yield from (one for one in cut if isinstance(one, SoundError))


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
