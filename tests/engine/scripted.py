"""A family that writes what a test tells it to: the engine's own part, without a network's opinion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auricle.checkpoint import Checkpoint
from auricle.engine.answer import AnswerGoal
from auricle.engine.request import request_of
from auricle.engine.scheduler import Scheduler
from auricle.engine.store import Store
from auricle.errors import SoundError
from auricle.models.family import Ear, Family, Part, Prompt
from auricle.models.text import TextCodec
from auricle.types import Ask, Chunk, Message, Sampling
from tests.checkpoints import IDS, VOCABULARY, make_tokenizer


@dataclass
class ScriptedCache:
    """Counts, and holds nothing."""

    length: int = 0
    steps: int = 0  # times that logits were asked for
    shortest: int = 0
    nbytes: int = 1

    def truncate(self, length: int) -> None:
        self.length = length

    def fork(self, length: int) -> ScriptedCache:
        return ScriptedCache(length)


class ScriptedFamily:
    """Reads anything as a prompt of `prompt_tokens` ids and answers with the script, then with the stop token."""

    def __init__(
        self, folder: Path, script: Sequence[int] = (), *, context: int = 1000, prompt_tokens: int = 3
    ) -> None:
        (folder / "config.json").write_text('{"model_type": "scripted"}')
        make_tokenizer(folder)
        self.codec = TextCodec(Checkpoint(folder))
        self.model: nn.Module = nn.Identity()
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.rate, self.max_clip_seconds, self.context = 16_000, 30.0, context
        self.stop_ids = frozenset({IDS["<eos>"]})
        self.placeholder, self.vocabulary = IDS["<|audio|>"], VOCABULARY
        self.notes: tuple[str, ...] = ()
        self.hidden_span: tuple[int, int] | None = (IDS["<|channel>"], IDS["<channel|>"])
        self.script, self.prompt_tokens = list(script), prompt_tokens
        self.read_audio: list[Tensor | None] = []

    def load(self, device: torch.device, dtype: torch.dtype) -> None:
        """Nothing to load."""

    def parameters(self) -> int:
        return 0

    def audio_tokens(self, samples: int) -> int:
        return -(-samples // 640)

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((self.audio_tokens(len(samples)), 2), dtype=np.float32)

    def encode(self, features: NDArray[np.float32]) -> Tensor:
        return torch.ones(len(features), 5)

    def check_clip(self, samples: int) -> None:
        if not samples:
            raise SoundError("the sound has 0 samples")

    def ear(self) -> Ear | None:
        return None

    def prompt(self, messages: list[Message], tokens: list[int]) -> Prompt:
        return Prompt([7] * self.prompt_tokens + [self.placeholder] * sum(tokens), ["scripted"])

    def new_cache(self, *, observed: bool = False) -> ScriptedCache:
        return ScriptedCache()

    def read(self, parts: Sequence[Part]) -> list[Tensor]:
        return [self._read(part) for part in parts]

    def _read(self, part: Part) -> Tensor:
        self.read_audio.append(part.audio)
        part.cache.length += len(part.ids)
        logits = torch.zeros(part.wanted, VOCABULARY)
        if part.wanted:
            step, part.cache.steps = part.cache.steps, part.cache.steps + 1
            logits[-1, self.script[step] if step < len(self.script) else IDS["<eos>"]] = 10.0
        return logits

    def says(self, text: str) -> ScriptedFamily:
        """Scripts a text, every byte a token of its own; control tokens in it are one token each."""
        self.script = []
        while text:
            control = next((token for token in IDS if text.startswith(token)), None)
            if control:
                self.script.append(IDS[control])
                text = text[len(control) :]
            else:
                self.script += map(self.byte_token, text[0].encode())
                text = text[1:]
        return self

    def byte_token(self, byte: int) -> int:
        """The id of one byte alone, whatever the tokenizer would merge it with."""
        id = self.codec.id(_BYTE_LETTERS[byte])
        assert id is not None
        return id

    def stream(self, messages: Sequence[Message] = (Message("user", ("hm?",)),), **options: Any) -> list[Chunk]:
        return list(stream(self, messages, Sampling(**options)))


def stream(
    family: Family, messages: Sequence[Message], sampling: Sampling, *, zero_audio: bool = False, cache_bytes: int = 0
) -> Iterator[Chunk]:
    """One request alone, with a scheduler of its own."""
    ask = Ask(tuple(messages), sampling, zero_audio=zero_audio)
    request = request_of(family, ask, lambda prompt: AnswerGoal(family, sampling, prompt.ids))
    scheduler = Scheduler(family, Store(cache_bytes))
    return scheduler.chunks(scheduler.submit(request))


def _byte_letters() -> dict[int, str]:
    """How byte-level tokenizers write bytes as letters (GPT-2's table)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in plain}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}


_BYTE_LETTERS = _byte_letters()
