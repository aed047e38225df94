"""Of several tries to fill a gap, the one that what follows it fits best.

By Bayes' rule, p(gap | left, right) is in proportion to p(gap | left) p(right | left, gap). So tries are drawn from the
left, and what is on the right is their judge: a small model makes more of it so than when it is shown it in the prompt
(docs/log.md, 2026-11-26).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt

JUDGED = 10  # frames behind the gap, 0.2 s; 5 to 50 chose alike


def prompt_of_tries(prompt: Prompt) -> Prompt:
    """What tries are drawn from: a gap's prompt without its right side, unless there is no other."""
    return replace(prompt, right=prompt.right[:0], gap=0) if len(prompt.left) else prompt


def the_likeliest(
    lm: AudioLM, prompt: Prompt, tries: Sequence[Tensor], judged: Callable[[int, int], None] = lambda done, whole: None
) -> Tensor:
    """
    Args:
        prompt: of the gap, with both sides.
        tries: `(frames, codebooks)` each; those that the model ended within the gap are left out if others aren't.
        judged: called with how many are, and of how many.
    """
    tries = [one for one in tries if len(one) == prompt.gap] or tries
    after = [replace(prompt, left=torch.cat([prompt.left, one.cpu()]), right=prompt.right[:0], gap=0) for one in tries]
    nats = []
    for done, one in enumerate(after, start=1):
        nats += lm.nats([one], [prompt.right[:JUDGED]])
        judged(done, len(after))
    return tries[nats.index(min(nats))]
