"""A transcript as subtitles: SubRip, and WebVTT (https://www.w3.org/TR/webvtt1/)."""

from __future__ import annotations

from collections.abc import Iterable

from auricle.types import TranscriptSegment


def srt(segments: Iterable[TranscriptSegment]) -> str:
    """Numbered cues; pieces in which nothing was said have none."""
    spoken = [segment for segment in segments if segment.text]
    return "".join(
        f"{number}\n{_time(cue.start_s, ',')} --> {_time(cue.end_s, ',')}\n{cue.text}\n\n"
        for number, cue in enumerate(spoken, 1)
    )


def vtt(segments: Iterable[TranscriptSegment]) -> str:
    """As `srt`, with the characters escaped that mean something in WebVTT."""
    spoken = [segment for segment in segments if segment.text]
    return "WEBVTT\n\n" + "".join(
        f"{_time(cue.start_s, '.')} --> {_time(cue.end_s, '.')}\n{_escaped(cue.text)}\n\n" for cue in spoken
    )


def _time(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
