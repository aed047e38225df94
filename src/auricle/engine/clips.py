"""What a live session stands on: a prompt whose clips are still to come, and the clip that is being heard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.engine.prefixes import Clip
from auricle.engine.request import Sound
from auricle.errors import PromptError
from auricle.models.family import Family
from auricle.types import Audio, Message

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """The ids of a prompt around its clips."""

    before: list[int]
    between: list[int]
    after: list[int]

    @classmethod
    def of(cls, family: Family, text: str) -> Frame:
        clip = Audio(np.zeros(1, dtype=np.float32), family.rate)
        ids = family.prompt([Message("user", (text, clip, clip))], [1, 1]).ids
        first, second = (place for place, id in enumerate(ids) if id == family.placeholder)
        frame = cls(ids[:first], ids[first + 1 : second], ids[second + 1 :])
        for tokens in ([3], [1, 2, 1]):
            ids = family.prompt([Message("user", (text, *[clip] * len(tokens)))], tokens).ids
            if ids != frame.around(tokens, family.placeholder):
                raise PromptError(
                    "the model's chat template changes with the number of clips, so it can't be read as they come"
                )
        return frame

    def around(self, tokens: list[int], placeholder: int) -> list[int]:
        """The whole prompt of clips of so many audio tokens."""
        ids = list(self.before)
        for number, count in enumerate(tokens):
            ids += [*(self.between if number else []), *[placeholder] * count]
        return ids + self.after


class OpenClip:
    """The clip that is being heard."""

    def __init__(self, family: Family, start_s: float) -> None:
        ear = family.ear()
        assert ear is not None, "see `Session`"
        self.ear, self.start_s, self.digest = ear, start_s, hashlib.blake2b(digest_size=16)
        self.tokens: list[torch.Tensor] = []

    def hear(self, samples: Samples, *, last: bool = False) -> torch.Tensor:
        self.digest.update(np.ascontiguousarray(samples).data)
        self.tokens.append(self.ear.hear(samples, last=last))
        return self.tokens[-1]

    def sound(self, family: Family, source: str) -> Sound:
        """As a prompt's clip; its samples are not kept."""
        length = np.broadcast_to(np.float32(0), self.ear.samples)
        return Sound(Audio(length, family.rate, source, self.start_s), Clip(self.digest.digest(), self.ear.tokens))
