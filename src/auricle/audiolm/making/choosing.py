"""Of several tries to fill a gap, the one that what follows it fits best.

By Bayes' rule, p(gap | left, right) is in proportion to p(gap | left) p(right | left, gap). So tries are drawn from the
left, and what is on the right is their judge: a small model makes more of it so than when it is shown it in the prompt
(docs/log.md, 2026-11-26).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt

JUDGED = 10  # frames behind the gap, 0.2 s; 5 to 50 chose alike


def prompt_of_tries(prompt: Prompt) -> Prompt:
    """What tries are drawn from: a gap's prompt without its right side, unless there is no other."""
    return replace(prompt, right=prompt.right[:0], gap=0) if len(prompt.left) else prompt


def the_likeliest(lm: AudioLM, prompt: Prompt, tries: Sequence[Tensor]) -> Tensor:
    """
    Args:
        prompt: of the gap, with both sides.
        tries: `(frames, codebooks)` each; those that the model ended within the gap are left out if others aren't.
    """
    tries = [one for one in tries if len(one) == prompt.gap] or tries
    after = [replace(prompt, left=torch.cat([prompt.left, one.cpu()]), right=prompt.right[:0], gap=0) for one in tries]
    nats = lm.nats(after, [prompt.right[:JUDGED]] * len(after))
    return tries[nats.index(min(nats))]
