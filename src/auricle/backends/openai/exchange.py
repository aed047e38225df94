"""One request to a server: its attempts, its text as it comes, and the answer with what the server told of it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from auricle.backends.openai import failures, wire
from auricle.backends.openai.checks import check_of
from auricle.backends.openai.failures import Failure
from auricle.backends.openai.line import Line
from auricle.backends.openai.replies import Reply
from auricle.backends.openai.server import EXTRA, Server
from auricle.errors import AuricleError, CancelledError, DeadlineError
from auricle.types import Answer, Ask, Chunk, FinishReason, Segment, Timings

FIRST_WAIT_S = 0.5  # before the second attempt; twice as long before each one after
LONGEST_WAIT_S = 8.0  # unless the server names a time


class _Failed(Exception):
    """An attempt failed before its first text."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


class Exchange:
    """See `chunks`."""

    def __init__(self, server: Server, ask: Ask, line: Line) -> None:
        self._server, self._ask, self._line = server, ask, line
        self._check = check_of(ask.sampling, EXTRA)
        self._clips = wire.clips_of(ask)
        self._started = self._begun = time.perf_counter()
        self._first: float | None = None  # when the first text came

    def chunks(self) -> Iterator[Chunk]:
        """Text as it comes; the last chunk carries the answer. An attempt that fails before any text is repeated.

        Raises:
            BusyError: the server has too many requests, still at the last attempt.
            DeadlineError: the request's time is up, or that of one attempt.
            InputError: the server refuses the request; its words are in the message.
            AuricleError: it can't be reached, fails, breaks off, or does not do what it was asked.
        """
        body = wire.body(self._server.model, self._ask)
        attempts = self._server.retries + 1
        for attempt in range(1, attempts + 1):
            try:
                yield from self._attempt(body)
                return
            except _Failed as failed:
                failure = failed.failure
            if not failure.passing or attempt == attempts:
                tried = f" (tried {attempt} times)" if attempt > 1 else ""
                raise type(failure.error)(f"{failure.error}{tried}") from failure.error
            self._wait(failure, attempt)

    def _attempt(self, body: dict[str, Any]) -> Iterator[Chunk]:
        import openai

        self._begun = time.perf_counter()
        left = self._left()
        seconds = self._server.timeout if left is None else min(self._server.timeout, left)
        reply = Reply(self._server)
        with self._line.attempt(seconds):
            try:
                for text in self._texts(body, seconds, reply):
                    self._first = self._first or time.perf_counter()
                    yield Chunk(text)
            except openai.APIStatusError as error:
                raise _Failed(failures.of_status(self._server, error)) from error
            except openai.APIConnectionError as error:
                self._broken(reply, error)
            except openai.APIError as error:
                self._refuse_ended(error)
                failure = failures.of_event(self._server, error)
                self._break_off(reply, failure, failures.message_of(error.body) or str(error), error)
            except (openai.OpenAIError, ValueError, RecursionError) as error:  # an event that is no JSON, or no text
                self._refuse_ended(error)
                raise failures.malformed(self._server, failures.shortened(str(error))) from error
            except Exception as error:
                if not failures.is_of_transport(error):  # older clients let these through
                    raise
                self._broken(reply, error)
        if reply.finish is None:
            self._refuse_ended(None)
            cut = AuricleError(f"{self._server.url} ended its answer before the first text: look at the server's log")
            self._break_off(reply, Failure(cut, passing=True), "the stream ended", None)
        yield Chunk("", self._answer(reply))

    def _texts(self, body: dict[str, Any], seconds: float, reply: Reply) -> Iterator[str]:
        """The texts of one attempt's events. Leaving the loop over them closes the connection."""
        import openai

        timeout = openai.Timeout(seconds, connect=min(self._server.connect_s, seconds))
        with self._line.connecting():
            stream = self._server.client.chat.completions.create(**body, timeout=timeout)
        with stream:
            kind = stream.response.headers.get("content-type", "nothing")
            if not kind.startswith("text/event-stream"):
                raise failures.malformed(self._server, f"its reply is of type {failures.shortened(kind)}")
            for event in stream:
                text = reply.take(event)
                if text:
                    yield text

    def _broken(self, reply: Reply, error: Exception) -> None:
        """The connection broke. An answer that had ended before is whole: only its token counts may be missing."""
        self._refuse_ended(error)
        if reply.finish is None:
            reason = failures.shortened(str(error.__cause__ or error))
            self._break_off(reply, failures.of_connection(self._server, error), reason, error)

    def _refuse_ended(self, error: Exception | None) -> None:
        """Raises when it was we who ended the connection, or when time was up in it."""
        if self._line.given_up.is_set():
            raise CancelledError("the request was given up before it was done") from error
        connecting = type(getattr(error, "__cause__", None)).__name__ == "ConnectTimeout"
        slow = type(error).__name__.endswith(("TimeoutError", "ReadTimeout", "WriteTimeout")) and not connecting
        left = self._left(refuse=False)
        if left is not None and left <= 0.001:
            raise self._overdue() from error
        if self._line.overdue or slow:
            raise DeadlineError(
                f"{self._server.url} was not done within {self._server.timeout:g} s: give it more (--timeout), "
                "ask for less, or send fewer requests at once"
            ) from error

    def _break_off(self, reply: Reply, failure: Failure, reason: str, error: Exception | None) -> None:
        """A stream that failed: to be repeated while nothing was shown, an error once something was."""
        if not reply.text:
            raise _Failed(failure) from error
        raise AuricleError(
            f"{self._server.url} broke off its answer after {len(reply.text)} characters, without a finish_reason "
            f"({reason}): ask again"
        ) from error

    def _wait(self, failure: Failure, attempt: int) -> None:
        """Before another attempt, longer each time, and as long as the server says."""
        wait = min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.75, 1)
        wait = failure.wait_s if failure.wait_s is not None else wait
        left = self._left()
        if left is not None and wait >= left:
            raise self._overdue(f"; it could not be tried again in time ({failure.error})") from failure.error
        if self._line.given_up.wait(wait):
            raise CancelledError("the request was given up before it was done")

    def _left(self, *, refuse: bool = True) -> float | None:
        """Seconds until the request must be done; None is for ever."""
        if self._ask.timeout_s is None:
            return None
        left = self._ask.timeout_s - (time.perf_counter() - self._started)
        if refuse and left <= 0:
            raise self._overdue()
        return left

    def _overdue(self, why: str = "") -> DeadlineError:
        return DeadlineError(
            f"the request was not done within its {self._ask.timeout_s:g} s: give it more (timeout_s), "
            f"ask for less, or send fewer requests at once{why}"
        )

    # --- the answer

    def _answer(self, reply: Reply) -> Answer:
        if self._clips and reply.audio_tokens == 0:
            raise AuricleError(
                f"{self._server.url} dropped the audio: it says that the prompt has 0 audio tokens. "
                f"{self._server.model} may not hear, or the server was started without its audio part"
            )
        text, finish = reply.text.strip(), reply.finish
        unfit = self._check(text) if self._check is not None else None
        if unfit and finish == "stop" and not reply.ended_by_stop:
            raise AuricleError(
                f"{self._server.url} ignored the constraint: the answer {failures.shortened(text)[:80]!r} {unfit}; "
                "ask without one, or use a server that knows it, such as vLLM"
            )
        assert finish in ("stop", "length"), "the reply has read that it ended"
        ending: FinishReason = "stop" if finish == "stop" else "length"
        return Answer(
            text=text,
            tokens=(),  # a server tells no ids
            finish_reason=ending,
            prompt_tokens=reply.prompt_tokens or 0,
            segments=tuple(self._segments(reply)),
            timings=self._timings(reply),
            notes=(*self._ask.notes, *self._notes(reply, unfit)),
        )

    def _segments(self, reply: Reply) -> Iterator[Segment]:
        """A server counts the tokens of all clips together: of several, none is known."""
        tokens = (reply.audio_tokens or 0) if len(self._clips) == 1 else 0
        for clip in self._clips:
            yield Segment(clip.source, clip.start_s, clip.start_s + clip.seconds, tokens)

    def _notes(self, reply: Reply, unfit: str | None) -> Iterator[str]:
        for clip in self._clips:
            if wire.clipped(clip):
                yield f"{clip.source} goes beyond full scale, and was clipped there to be sent in 16 bits"
        if self._clips and reply.audio_tokens is None:
            yield "the server does not say whether it heard the audio"
        if reply.prompt_tokens is None:
            yield "the server does not say how many tokens the prompt has"
        if reply.finish == "length":
            yield self._cut(reply, unfit)
        elif unfit:
            yield "the answer was ended by a stop string and does not fulfil the constraint"

    def _cut(self, reply: Reply, unfit: str | None) -> str:
        most, tokens = self._ask.sampling.max_tokens, reply.answer_tokens
        reason = "the model's context is full" if tokens is not None and tokens < most else "max_tokens"
        thinking = "; it was still thinking" if reply.thought and not reply.text else ""
        constraint = "; it does not fulfil the constraint" if unfit else ""
        return f"the answer was cut after {most if tokens is None else tokens} tokens ({reason}){thinking}{constraint}"

    def _timings(self, reply: Reply) -> Timings:
        """As seen from here: the network, and what the server waited and heard, count until the first text."""
        now = time.perf_counter()
        first = self._first or now
        tokens, decode_s = reply.answer_tokens or 0, now - first
        return Timings(
            queued_s=self._begun - self._started,
            prefill_s=first - self._begun,
            ttft_s=first - self._started,
            decode_s=decode_s,
            decode_tokens_per_s=(tokens - 1) / decode_s if tokens > 1 and decode_s > 0 else 0.0,
            total_s=now - self._started,
        )
