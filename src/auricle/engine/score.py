"""How likely each of some answers is, as a whole: the prompt is read once, and every choice goes on from a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from auricle.engine.request import Request
from auricle.errors import OptionError, PromptError
from auricle.models.family import Family, Part
from auricle.types import ChoiceScore, Scores

AT_ONCE = 8  # choices in a pass; each has a copy of the keys and values
ROWS = 64  # of all of these in a pass: answers under way wait for it, and the logits of each take 1 MB for Gemma 4


@dataclass
class _Choice:
    """One on its way."""

    text: str
    ids: list[int]
    logprobs: list[float] = field(default_factory=list)  # of the tokens read, then of the end
    logits: Tensor | None = None  # (vocabulary,) of what comes next; None before anything was read
    copy: Any = None  # of the prompt's cache, which reads the tokens

    @property
    def done(self) -> bool:
        return len(self.logprobs) > len(self.ids)

    def part(self, prompt: Any, length: int, rows: int) -> Part:
        """Its next tokens, at most so many."""
        read = len(self.logprobs)
        self.copy = self.copy or prompt.fork(length)
        self.copy.truncate(length + read)  # where an earlier pass came to no end
        ids = self.ids[read : read + rows]
        return Part(self.copy, ids, wanted=len(ids))

    def take(self, rows: Tensor, first: Tensor, stops: list[int]) -> None:
        """Goes on from the logits of these tokens, `(tokens, vocabulary)`; `first` are those of the prompt."""
        read, before = len(self.logprobs), first if self.logits is None else self.logits
        now = self.ids[read : read + len(rows)]
        logprobs = torch.log_softmax(torch.cat([before[None], rows.float()]), dim=-1)
        self.logprobs += logprobs[range(len(now)), now].tolist()
        self.logits = rows[-1].float()
        if len(self.logprobs) == len(self.ids):
            self.logprobs.append(float(torch.logsumexp(logprobs[-1, stops], dim=0)))
            self.logits = self.copy = None


class ScoreGoal:
    """See `engine.request.Goal`. Its result is `Scores`.

    The end counts as well: "yes" is the answer that is over after "yes", not every answer that begins with it. Whatever
    stop token ends it, their probabilities add up.
    """

    def __init__(self, family: Family, choices: Sequence[str], prompt_ids: Sequence[int]) -> None:
        if isinstance(choices, str) or not choices:
            raise OptionError("choices is no list of answers: give at least one, such as ['yes', 'no']")
        self._choices = [_Choice(choice, _spelled(family, choice)) for choice in choices]
        repeated = next((choice for choice in choices if choices.count(choice) > 1), None)
        if repeated is not None:
            raise OptionError(f"choices has {repeated!r} {choices.count(repeated)} times: give each choice once")
        longest = max(len(choice.ids) for choice in self._choices)
        if len(prompt_ids) + longest >= family.context:
            raise PromptError(
                f"the prompt has {len(prompt_ids)} tokens, a choice {longest}, and the model's context holds "
                f"{family.context}: use less sound (25 tokens a second) or shorter choices"
            )
        self.read_ids: list[int] = []  # the copies read, not the cache itself
        self._stops = sorted(id for id in family.stop_ids if id < family.vocabulary)
        if not self._stops:
            raise OptionError("a score needs a model that has a token to end an answer with: use another model")
        self._first: Tensor | None = None  # (vocabulary,) logits behind the prompt

    def begin(self, request: Request, logits: Tensor) -> None:
        request.clock.first_token = request.clock.mark()
        self._first = logits.float()

    def parts(self, request: Request) -> list[Part]:
        now, length = self._now, len(request.prompt.ids)
        return [choice.part(request.cache, length, ROWS // len(now)) for choice in now]

    def take(self, request: Request, logits: list[Tensor]) -> None:
        assert self._first is not None, "the prompt was read first"
        for choice, rows in zip(self._now, logits, strict=True):
            choice.take(rows, self._first, self._stops)
        if not all(choice.done for choice in self._choices):
            return
        scores = Scores(
            choices=tuple(
                ChoiceScore(one.text, sum(one.logprobs), tuple(one.ids), tuple(one.logprobs)) for one in self._choices
            ),
            prompt_tokens=len(request.prompt.ids),
            segments=request.segments,
            timings=request.clock.timings(),
            reused_tokens=request.reused_tokens,
            reused_clips=request.reused_clips,
        )
        request.finish(scores)

    @property
    def _now(self) -> list[_Choice]:
        """The choices whose turn it is."""
        return [choice for choice in self._choices if not choice.done][:AT_ONCE]


def _spelled(family: Family, choice: str) -> list[int]:
    if not isinstance(choice, str) or not choice.strip():
        raise OptionError(f"choices has {choice!r}, which is no answer: give the words of one")
    try:
        choice.encode()
    except UnicodeEncodeError as error:  # half of a pair of surrogates, or bytes of a command line that are no UTF-8
        raise OptionError(f"choices has {choice!r}, which is no text: spell it in UTF-8") from error
    family.codec.refuse_control_tokens(choice)
    ids = family.codec.encode(choice)
    if not ids:
        raise OptionError(f"the model's tokenizer has no tokens for the choice {choice!r}: spell it in another way")
    return ids
