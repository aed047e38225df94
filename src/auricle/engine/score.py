"""How likely each of some answers is, as a whole: the prompt is read once, and every choice goes on from a copy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from auricle.engine.request import Request
from auricle.errors import OptionError, PromptError
from auricle.models.family import Family, Part
from auricle.types import ChoiceScore, Scores

AT_ONCE = 8  # choices in a pass; each has a copy of the keys and values


class ScoreGoal:
    """See `engine.request.Goal`. Its result is `Scores`.

    The end counts as well: "yes" is the answer that is over after "yes", not every answer that begins with it. Whatever
    stop token ends it, their probabilities add up.
    """

    def __init__(self, family: Family, choices: Sequence[str], prompt_ids: Sequence[int]) -> None:
        if isinstance(choices, str) or not choices:
            raise OptionError("choices is no list of answers: give at least one, such as ['yes', 'no']")
        if len(set(choices)) < len(choices):
            raise OptionError(f"choices holds {len(choices) - len(set(choices))} twice: give each answer once")
        self.read_ids: list[int] = []  # the copies read, not the cache itself
        self.choices = tuple(choices)
        self._ids = [_spelled(family, choice) for choice in choices]
        longest = max(map(len, self._ids))
        if len(prompt_ids) + longest >= family.context:
            raise PromptError(
                f"the prompt has {len(prompt_ids)} tokens, a choice {longest}, and the model's context holds "
                f"{family.context}: use less sound (25 tokens a second) or shorter choices"
            )
        self._stops = sorted(family.stop_ids)
        self._first: Tensor | None = None
        self._scores: list[ChoiceScore] = []

    def begin(self, request: Request, logits: Tensor) -> None:
        request.clock.first_token = request.clock.mark()
        self._first = logits.float()

    def parts(self, request: Request) -> list[Part]:
        length = len(request.prompt.ids)
        return [Part(request.cache.fork(length), ids, wanted=len(ids)) for ids in self._ids[self._now]]

    def take(self, request: Request, logits: list[Tensor]) -> None:
        assert self._first is not None, "the prompt was read first"
        now = self._now
        for choice, ids, rows in zip(self.choices[now], self._ids[now], logits, strict=True):
            # (tokens + 1, vocabulary)
            logprobs = torch.log_softmax(torch.cat([self._first[None], rows.float()]), dim=-1)
            each = logprobs[range(len(ids)), ids].tolist()
            each.append(float(torch.logsumexp(logprobs[-1, self._stops], dim=0)))
            self._scores.append(ChoiceScore(choice, sum(each), tuple(ids), tuple(each)))
        if len(self._scores) < len(self.choices):
            return
        request.result = Scores(
            choices=tuple(self._scores),
            prompt_tokens=len(request.prompt.ids),
            segments=request.segments,
            timings=request.clock.timings(),
            reused_tokens=request.reused_tokens,
            reused_clips=request.reused_clips,
        )

    @property
    def _now(self) -> slice:
        """The choices whose turn it is."""
        return slice(len(self._scores), len(self._scores) + AT_ONCE)


def _spelled(family: Family, choice: str) -> list[int]:
    if not choice.strip():
        raise OptionError("a choice is empty: give the words of an answer")
    family.codec.refuse_control_tokens(choice)
    ids = family.codec.encode(choice)
    if not ids:
        raise OptionError(f"the model's tokenizer has no tokens for the choice {choice!r}: spell it in another way")
    return ids
