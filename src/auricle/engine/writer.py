"""From sampled tokens to the text that may be shown."""

from __future__ import annotations

from auricle.models.text import Detokenizer


class Writer:
    """Leaves out hidden spans, holds back what could begin a stop string, and ends before one."""

    def __init__(self, detokenizer: Detokenizer, stop: tuple[str, ...], hidden_span: tuple[int, int] | None) -> None:
        self.text = ""  # shown so far
        self.stopped = False  # a stop string was met
        self.hidden = False  # within a hidden span
        self._detokenizer, self._stop = detokenizer, stop
        self._opening, self._closing = hidden_span or (-1, -1)
        self._held = ""  # could be the beginning of a stop string

    def add(self, token: int) -> str:
        if token in (self._opening, self._closing):
            self.hidden = token == self._opening
            return ""
        return "" if self.hidden else self._show(self._detokenizer.add(token))

    def finish(self) -> str:
        if self.stopped:
            return ""
        shown = self._show(self._detokenizer.flush())
        rest, self._held = self._held, ""
        if not self.stopped:
            self.text += rest
            shown += rest
        return shown

    def _show(self, new: str) -> str:
        text = self._held + new
        places = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if places:
            self.stopped = True
            shown, self._held = text[: min(places)], ""
        else:
            held = max((_overlap(text, stop) for stop in self._stop), default=0)
            shown, self._held = text[: len(text) - held], text[len(text) - held :]
        self.text += shown
        return shown


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters could begin the stop string."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
