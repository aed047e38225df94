"""How likely each of some answers is, as a whole: the prompt is read once, and every choice goes on from a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from auricle.engine.request import Request
from auricle.errors import OptionError, PromptError
from auricle.models.family import Family, Part
from auricle.types import ChoiceScore, Scores

AT_ONCE = 8  # lines of tokens in a pass; each has a copy of the keys and values
ROWS = 64  # of all of these in a pass: answers under way wait for it, and the logits of each take 1 MB for Gemma 4


class _Line:
    """Tokens on their way, of one choice and of all that are beginnings of it."""

    def __init__(self, ids: tuple[int, ...]) -> None:
        self.ids = ids
        self.logprobs: list[float] = []  # of the tokens read, each after those before it
        self.ends: list[float] = []  # that the answer is over behind each of them
        self._logits: Tensor | None = None  # (vocabulary,) of what comes next; None before anything was read
        self._copy: Any = None  # of the prompt's cache, which reads the tokens

    @property
    def done(self) -> bool:
        return len(self.ends) == len(self.ids)

    def part(self, prompt: Any, length: int, rows: int) -> Part:
        """Its next tokens, at most so many."""
        read = len(self.ends)
        self._copy = self._copy or prompt.fork(length)
        self._copy.truncate(length + read)  # where an earlier pass came to no end
        ids = self.ids[read : read + rows]
        return Part(self._copy, ids, wanted=len(ids))

    def take(self, rows: Tensor, first: Tensor, stops: list[int]) -> None:
        """Goes on from the logits of these tokens, `(tokens, vocabulary)`; `first` are those of the prompt."""
        read, before = len(self.ends), first if self._logits is None else self._logits
        now = self.ids[read : read + len(rows)]
        logprobs = torch.log_softmax(torch.cat([before[None], rows.float()]), dim=-1)
        self.logprobs += logprobs[range(len(now)), now].tolist()
        self.ends += torch.logsumexp(logprobs[1:, stops], dim=-1).tolist()
        self._logits = rows[-1].float()
        if self.done:
            self._logits = self._copy = None

    def score(self, choice: str, ids: tuple[int, ...]) -> ChoiceScore:
        """Of a choice that it begins with: its tokens, and that it is over behind them."""
        logprobs = (*self.logprobs[: len(ids)], self.ends[len(ids) - 1])
        return ChoiceScore(choice, sum(logprobs), ids, logprobs)


class ScoreGoal:
    """See `engine.request.Goal`. Its result is `Scores`.

    The end counts as well: "yes" is the answer that is over after "yes", not every answer that begins with it. Whatever
    stop token ends it, their probabilities add up.
    """

    def __init__(self, family: Family, choices: Sequence[str], prompt_ids: Sequence[int]) -> None:
        if isinstance(choices, str) or not choices:
            raise OptionError("choices is no list of answers: give at least one, such as ['yes', 'no']")
        self._choices = [(choice, tuple(_spelled(family, choice))) for choice in choices]
        repeated = next((choice for choice in choices if choices.count(choice) > 1), None)
        if repeated is not None:
            raise OptionError(f"choices has {repeated!r} {choices.count(repeated)} times: give each choice once")
        longest = max(len(ids) for _, ids in self._choices)
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
        self._line_of = _lines([ids for _, ids in self._choices])
        self._lines = list(dict.fromkeys(self._line_of.values()))

    def begin(self, request: Request, logits: Tensor) -> None:
        request.clock.first_token = request.clock.mark()
        self._first = logits.float()

    def parts(self, request: Request) -> list[Part]:
        now, length = self._now, len(request.prompt.ids)
        return [line.part(request.cache, length, ROWS // len(now)) for line in now]

    def take(self, request: Request, logits: list[Tensor]) -> None:
        assert self._first is not None, "the prompt was read first"
        for line, rows in zip(self._now, logits, strict=True):
            line.take(rows, self._first, self._stops)
        if not all(line.done for line in self._lines):
            return
        scores = Scores(
            choices=tuple(self._line_of[ids].score(choice, ids) for choice, ids in self._choices),
            prompt_tokens=len(request.prompt.ids),
            segments=request.segments,
            timings=request.clock.timings(),
            reused_tokens=request.reused_tokens,
            reused_clips=request.reused_clips,
        )
        request.finish(scores)

    @property
    def _now(self) -> list[_Line]:
        """The lines whose turn it is."""
        return [line for line in self._lines if not line.done][:AT_ONCE]


def _lines(choices: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], _Line]:
    """For each choice's tokens the line that reads them; "yes" is read with "yes." if its tokens begin that."""
    lines: dict[tuple[int, ...], _Line] = {}
    before: tuple[int, ...] = ()
    for ids in sorted(set(choices), reverse=True):  # what another begins with comes right behind it
        lines[ids] = lines[before] if before[: len(ids)] == ids else _Line(ids)
        before = ids
    return {ids: lines[ids] for ids in choices}


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
