"""A family that writes what a test tells it to: the engine's own part, without a network's opinion."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auricle.checkpoint import Checkpoint
from auricle.engine.answer import AnswerGoal
from auricle.engine.request import Request, request_of
from auricle.engine.scheduler import Scheduler
from auricle.engine.store import Store
from auricle.errors import SoundError
from auricle.models.family import Ear, Family, Part, Prompt
from auricle.models.text import TextCodec
from auricle.types import Ask, Audio, Chunk, Message, Sampling
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
        self.order = "text-first"
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


class TellingFamily(ScriptedFamily):
    """Each token it writes depends on all that was read before, ids and sound, in order: whatever is lost, mixed up or
    taken over from a prompt that was another shows in the answer. It notes what it is asked to do.

    Args:
        slack: how far back its caches can be taken; None is to the beginning.
        hears: whether it has an ear.

    Attributes:
        lasts: how many tokens an answer has on average; None is as many as it may.
    """

    def __init__(self, folder: Path, *, context: int = 4000, slack: int | None = None, hears: bool = True) -> None:
        super().__init__(folder, context=context)
        self.slack, self.hears = slack, hears
        self.lasts: int | None = 20
        self.log: list[tuple[str, Any]] = []  # ("hear", samples), ("encode", tokens), ("read", {cache: rows})
        self.on_part: Callable[[Part], None] = _nothing  # within a pass, before each part is taken up
        self.on_hear: Callable[[int], None] = _nothing  # within the ear, when the samples are taken in

    def told(self, kind: str) -> list[Any]:
        return [what for name, what in self.log if name == kind]

    def audio_tokens(self, samples: int) -> int:
        return -(-samples // TOKEN)

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        starts = range(0, len(samples), TOKEN)
        found = [(samples[at], samples[at : at + TOKEN][-1]) for at in starts]
        return np.array(found, dtype=np.float32).reshape(-1, 2)

    def encode(self, features: NDArray[np.float32]) -> Tensor:
        self.log.append(("encode", len(features)))
        return torch.from_numpy(np.tile(features, (1, 2)))

    def ear(self) -> TellingEar | None:
        return TellingEar(self) if self.hears else None

    def prompt(self, messages: list[Message], tokens: list[int]) -> Prompt:
        ids, counts = [], iter(tokens)
        for message in messages:
            ids.append(IDS["<|turn>"])
            for part in message.parts:
                ids += [self.placeholder] * next(counts) if isinstance(part, Audio) else self.codec.encode(part)
            ids.append(IDS["<turn|>"])
        return Prompt([*ids, IDS["<|turn>"]], ["telling"])

    def new_cache(self, *, observed: bool = False) -> TellingCache:
        return TellingCache(self.slack)

    def read(self, parts: Sequence[Part]) -> list[Tensor]:
        self.log.append(("read", {id(part.cache): len(part.ids) for part in parts}))
        return [self._read(part) for part in parts]

    def _read(self, part: Part) -> Tensor:
        self.on_part(part)
        sound = iter(() if part.audio is None else part.audio)
        for id in part.ids:
            heard = id == self.placeholder and part.audio is not None
            part.cache.take(next(sound).numpy().tobytes() if heard else str(id).encode())
        assert next(sound, None) is None, "more audio tokens than places for them"
        rows = [self._logits(part.cache.held[len(part.cache.held) - part.wanted + i]) for i in range(part.wanted)]
        return torch.stack(rows) if rows else torch.zeros(0, VOCABULARY)

    def _logits(self, held: bytes) -> Tensor:
        random = np.random.default_rng(int.from_bytes(held, "little"))
        logits = torch.from_numpy(random.standard_normal(VOCABULARY).astype(np.float32))
        logits[[IDS[token] for token in ("<|audio|>", "<|channel>")]] = -9.0
        ends = self.lasts is not None and int.from_bytes(held[:4], "little") % self.lasts == 0
        logits[sorted(self.stop_ids)] = 99.0 if ends else -9.0
        return logits


@dataclass
class TellingCache:
    """Holds a digest of all that was read up to each position."""

    slack: int | None = None
    held: list[bytes] = field(default_factory=list)
    reached: int = 0

    @property
    def length(self) -> int:
        return len(self.held)

    @property
    def shortest(self) -> int:
        return 0 if self.slack is None else max(0, self.reached - self.slack)

    @property
    def nbytes(self) -> int:
        return 100 * len(self.held)

    def take(self, what: bytes) -> None:
        before = self.held[-1] if self.held else b""
        self.held.append(hashlib.blake2b(before + what, digest_size=8).digest())
        self.reached = max(self.reached, len(self.held))

    def truncate(self, length: int) -> None:
        assert self.shortest <= length <= self.length
        del self.held[length:]

    def fork(self, length: int) -> TellingCache:
        assert self.shortest <= length <= self.length
        return TellingCache(self.slack, self.held[:length], self.reached)


class TellingEar:
    """Gives a token as soon as its samples are there."""

    def __init__(self, family: TellingFamily) -> None:
        self.samples = self.tokens = 0
        self.mel_s = 0.0
        self._family, self._waiting = family, np.empty(0, dtype=np.float32)

    def hear(self, samples: NDArray[np.float32], *, last: bool = False) -> Tensor:
        self._family.log.append(("hear", len(samples)))
        sound = np.concatenate([self._waiting, samples])
        self.samples += len(samples)
        self._family.on_hear(len(samples))
        ready = len(sound) if last else len(sound) // TOKEN * TOKEN
        self._waiting = sound[ready:]
        features = self._family.features(sound[:ready])
        self.tokens += len(features)
        return torch.from_numpy(np.tile(features, (1, 2)))


TOKEN = 640  # samples that become one audio token


def _nothing(_: Any) -> None:
    """For hooks that a test has not set."""


def stream(
    family: Family, messages: Sequence[Message], sampling: Sampling, *, zero_audio: bool = False, cache_bytes: int = 0
) -> Iterator[Chunk]:
    """One request alone, with a scheduler of its own."""
    scheduler = Scheduler(family, Store(cache_bytes))
    request = request_for(family, Ask(tuple(messages), sampling, zero_audio=zero_audio))
    return scheduler.chunks(scheduler.submit(request))


def request_for(family: Family, ask: Ask) -> Request:
    return request_of(family, ask, lambda prompt: AnswerGoal(family, ask.sampling, prompt.ids))


def asked(
    *parts: str | Audio,
    zero_audio: bool = False,
    trace: bool = False,
    priority: int = 0,
    timeout_s: float | None = None,
    **sampling: Any,
) -> Ask:
    """One question."""
    terms = {"zero_audio": zero_audio, "trace": trace, "priority": priority, "timeout_s": timeout_s}
    return Ask((Message("user", parts),), Sampling(**sampling), **terms)


def noise(samples: int, seed: int = 0) -> Audio:
    random = np.random.default_rng(seed)
    return Audio((random.standard_normal(samples) * 0.1).astype(np.float32), 16_000, f"noise {seed}")


def together(*calls: Callable[[], Any], seconds: float = 60) -> list[Any]:
    """What calls return that run at the same time, each in a thread. One that raises or hangs fails the test."""
    returned: dict[int, Any] = {}
    raised: list[BaseException] = []

    def run(number: int, call: Callable[[], Any]) -> None:
        try:
            returned[number] = call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=one, daemon=True) for one in enumerate(calls)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    if raised:
        raise raised[0]
    assert len(returned) == len(calls), f"{len(calls) - len(returned)} of {len(calls)} hang after {seconds} s"
    return [returned[number] for number in range(len(calls))]


def _byte_letters() -> dict[int, str]:
    """How byte-level tokenizers write bytes as letters (GPT-2's table)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in plain}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}


_BYTE_LETTERS = _byte_letters()
