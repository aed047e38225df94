"""How likely each of some answers is: one forward pass for each, over the prompt and the answer behind it.

The meaning is the one of `engine/score.py`: all tokens of the answer, and that it ends there, by whatever stop token.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auricle.backends.transformers.generation import refuse_overdue
from auricle.errors import OptionError, PromptError
from auricle.types import Ask, ChoiceScore, Scores, Timings

if TYPE_CHECKING:
    from auricle.backends.transformers.asked import AskedBackend


def scored(backend: AskedBackend, ask: Ask, choices: Sequence[str]) -> Scores:
    """Reads the prompt anew for every choice.

    Raises:
        OptionError: a choice is empty, repeated, or has no tokens; or the model has no token to end an answer with.
        PromptError: prompt and choice don't fit the context.
        DeadlineError: the request's `timeout_s` is over.
    """
    started = time.perf_counter()
    stops = sorted(backend.generator.stop_ids)
    if not stops:
        raise OptionError("a score needs a model that has a token to end an answer with: use another model")
    spelt = [_spelt(backend, choice) for choice in _checked(choices)]
    with backend.generator.turn(lambda: refuse_overdue(ask, started)):
        begun = time.perf_counter()
        inputs, segments, left = backend.fitted(ask)
        read = time.perf_counter()
        if (longest := max(map(len, spelt))) >= left:
            raise PromptError(
                f"a choice has {longest} tokens and the context holds {left} beside the prompt: shorten it"
            )
        scores = []
        for choice, ids in zip(choices, spelt, strict=True):
            refuse_overdue(ask, started)
            logprobs = _logprobs(backend, inputs, ids, stops)
            scores.append(ChoiceScore(choice, sum(logprobs), tuple(ids), tuple(logprobs)))
    now = time.perf_counter()
    timings = Timings(
        queued_s=begun - started, mel_s=read - begun, prefill_s=now - read, ttft_s=now - started, total_s=now - started
    )
    return Scores(tuple(scores), inputs["input_ids"].shape[1], segments, timings)


def _checked(choices: Sequence[str]) -> Sequence[str]:
    if isinstance(choices, str) or not choices:
        raise OptionError("choices is no list of answers: give at least one, such as ['yes', 'no']")
    for choice in choices:
        if not isinstance(choice, str) or not choice.strip():
            raise OptionError(f"choices has {choice!r}, which is no answer: give the words of one")
        if (times := list(choices).count(choice)) > 1:
            raise OptionError(f"choices has {choice!r} {times} times: give each choice once")
    return choices


def _spelt(backend: AskedBackend, choice: str) -> list[int]:
    backend.prompts.refuse_control_tokens(choice)
    ids: list[int] = backend.loaded.tokenizer.encode(choice, add_special_tokens=False)
    if not ids:
        raise OptionError(f"the model's tokenizer has no tokens for the choice {choice!r}: spell it in another way")
    return ids


@torch.inference_mode()
def _logprobs(backend: AskedBackend, inputs: dict[str, Any], ids: list[int], stops: list[int]) -> list[float]:
    """Of each token after those before it, then of the end."""
    length = inputs["input_ids"].shape[1]
    behind = torch.tensor([ids], device=inputs["input_ids"].device)
    longer = {name: _longer(name, value, length, behind) for name, value in inputs.items()}
    with backend.failing():
        logits = backend.loaded.model(**longer, use_cache=False).logits[0, length - 1 :]  # (tokens + 1, vocabulary)
    logprobs = logits.float().log_softmax(-1)
    each = logprobs[range(len(ids)), ids].tolist()
    return [*each, float(torch.logsumexp(logprobs[-1, stops], dim=0))]


def _longer(name: str, value: Tensor, length: int, behind: Tensor) -> Tensor:
    """An input with the answer behind it, if it has a number for each position of the prompt."""
    if name == "input_ids":
        return torch.cat([value, behind], dim=1)
    if value.shape != (1, length):
        return value
    kind = torch.ones_like(behind) if name == "attention_mask" else torch.zeros_like(behind)  # text, not sound
    return torch.cat([value, kind.to(value.dtype)], dim=1)
