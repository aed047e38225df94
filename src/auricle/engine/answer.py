"""The goal of most requests: an answer, token by token, until a stop token, a stop string, or no more may come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from auricle.engine.request import Request
from auricle.engine.sampling import Sampler, logprob_of
from auricle.engine.writer import Writer
from auricle.models.family import Family, Part
from auricle.models.text import Detokenizer
from auricle.types import Answer, Chunk, FinishReason, Sampling, TokenLogprob

if TYPE_CHECKING:
    from auricle.engine.constraint import Held


class AnswerGoal:
    """See `engine.request.Goal`. Gives chunks; the last one has no text of its own but carries the Answer."""

    def __init__(self, family: Family, sampling: Sampling, prompt_ids: list[int], held: Held | None = None) -> None:
        self.read_ids: list[int] = []
        self._sampling, self._held = sampling, held
        self._sampler = Sampler(sampling, prompt_ids, held)
        self._writer = Writer(Detokenizer(family.codec), sampling.stop, family.hidden_span)
        self._budget = min(sampling.max_tokens, family.context - len(prompt_ids))
        self._sampled: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._shown = 0  # of these, that chunks have carried

    def begin(self, request: Request, logits: Tensor) -> None:
        token = self._sampler.pick(logits)
        request.clock.first_token = request.clock.mark()
        self._go_on(request, token, logits)

    def parts(self, request: Request) -> list[Part]:
        return [Part(request.cache, self._sampled[-1:])]

    def take(self, request: Request, logits: list[Tensor]) -> None:
        self.read_ids.append(self._sampled[-1])
        self._go_on(request, self._sampler.pick(logits[0][-1]), logits[0][-1])

    def _go_on(self, request: Request, token: int, logits: Tensor) -> None:
        self._sampled.append(token)
        trace = request.terms.trace
        if trace is not None:
            trace.sample(token, request.family.codec.token(token), logits)
        if self._sampling.logprobs is not None:
            self._logprobs.append(logprob_of(token, logits, self._sampling.logprobs, request.family.codec.spelling))
        if token in request.family.stop_ids:
            return self._finish(request, "stop")
        text = self._writer.add(token)
        if text:
            request.chunks.append(self._chunk(text))
        if self._writer.stopped or len(self._sampled) >= self._budget:
            return self._finish(request, "stop" if self._writer.stopped else "length")
        return None

    def _finish(self, request: Request, finish: FinishReason) -> None:
        rest = self._writer.finish()
        if rest or self._shown < len(self._logprobs):
            request.chunks.append(self._chunk(rest))
        if self._writer.stopped:  # also by a stop string that shows only now, before a character that never came whole
            finish = "stop"
        trace = request.terms.trace
        answer = Answer(
            text=self._writer.text.strip(),
            tokens=tuple(self._sampled),
            finish_reason=finish,
            prompt_tokens=len(request.prompt.ids),
            segments=request.segments,
            timings=request.clock.timings(len(self._sampled)),
            notes=(*request.terms.notes, *self._notes(finish)),
            reused_tokens=request.reused_tokens,
            reused_clips=request.reused_clips,
            trace=trace.as_dict() if trace is not None else None,
            logprobs=tuple(self._logprobs) if self._sampling.logprobs is not None else None,
        )
        request.finish(answer, Chunk("", answer))

    def _chunk(self, text: str) -> Chunk:
        """Text that is final, with what is known of the tokens since the chunk before."""
        start, self._shown = self._shown, len(self._logprobs)
        return Chunk(text, logprobs=tuple(self._logprobs[start:]))

    def _notes(self, finish: FinishReason) -> tuple[str, ...]:
        unfit = self._held is not None and not self._held.complete
        if finish == "stop":
            return ("the answer was ended by a stop string and does not fulfil the constraint",) if unfit else ()
        reason = "max_tokens" if self._budget == self._sampling.max_tokens else "the model's context is full"
        thinking = "; it was still thinking" if self._writer.hidden else ""
        constraint = "; it does not fulfil the constraint" if unfit else ""
        return (f"the answer was cut after {self._budget} tokens ({reason}){thinking}{constraint}",)
