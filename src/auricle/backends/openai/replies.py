"""What a server's stream brings: text, how it ended, and how many tokens it says it read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auricle.backends.openai.failures import malformed, shortened
from auricle.backends.openai.server import Server
from auricle.errors import AuricleError


class Reply:
    """Reads a stream's events; `take` gives the text of each."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.text = ""  # given so far, without white space before it
        self.finish: str | None = None  # "stop" or "length", once the server said so
        self.refusal = ""  # the words with which it declines, which OpenAI's interface keeps apart from the answer
        self.thought = False  # it sent a train of thought, which is not part of the answer
        self.ended_by_stop = False  # by one of the request's stop strings, as far as the server tells
        self.prompt_tokens: int | None = None
        self.answer_tokens: int | None = None
        self.audio_tokens: int | None = None  # None: the server does not say

    def take(self, event: Any) -> str:
        """The text of one event, to be shown.

        Raises:
            AuricleError: it is no event of a chat stream, or says that the answer is withheld.
        """
        choices = getattr(event, "choices", None)
        if not isinstance(choices, list):
            raise malformed(self._server, "an event without choices")
        if getattr(event, "usage", None) is not None:
            self._count(event.usage)
        return self._choice(choices[0]) if choices else ""

    def _choice(self, choice: Any) -> str:
        delta = getattr(choice, "delta", None)
        if choice is None or isinstance(choice, str) or isinstance(delta, str | list):
            raise malformed(self._server, "a choice that is no object, or its delta")
        if refusal := getattr(delta, "refusal", None):
            self.refusal += str(refusal)
        text = getattr(delta, "content", None) or ""
        if not isinstance(text, str):
            raise malformed(self._server, f"content that is a {type(text).__name__}")
        self.thought |= any(getattr(delta, name, None) for name in ("reasoning", "reasoning_content"))
        finish = getattr(choice, "finish_reason", None)
        if finish is not None:
            self._end(finish, getattr(choice, "stop_reason", None))
        shown = text if self.text else text.lstrip()
        self.text += shown
        return shown

    def _end(self, finish: object, reason: object) -> None:
        if finish == "content_filter":
            raise AuricleError(f"{self._server.url} withholds the answer (content_filter): ask something else")
        if self.refusal and not self.text:
            raise AuricleError(f"{self._server.url} refuses to answer ({shortened(self.refusal)}): ask something else")
        if finish not in ("stop", "length"):
            raise malformed(self._server, f"finish_reason {finish!r}")
        self.finish = str(finish)
        self.ended_by_stop = isinstance(reason, str)  # vLLM names the string

    def _count(self, usage: Any) -> None:
        self.prompt_tokens = _number(getattr(usage, "prompt_tokens", None))
        self.answer_tokens = _number(getattr(usage, "completion_tokens", None))
        details = getattr(usage, "prompt_tokens_details", None)
        heard = _number(getattr(details, "audio_tokens", None))
        by_kind = getattr(details, "multimodal_tokens", None)  # vLLM's, with --enable-prompt-tokens-details
        if heard is None and isinstance(by_kind, Mapping):
            heard = _number(by_kind.get("audio", 0))
        self.audio_tokens = heard


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
