"""A look inside one request: feature and activation statistics, layer by layer, and every token sampled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Statistics:
    """Of one tensor."""

    name: str
    shape: tuple[int, ...]
    min: float
    max: float
    mean: float
    std: float

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> Statistics:
        x = tensor.detach().float()
        std = float(x.std(correction=0))
        return cls(name, tuple(tensor.shape), float(x.min()), float(x.max()), float(x.mean()), std)


@dataclass
class Trace:
    """What `--trace` shows. Activations are those of the encoder and of the prefill."""

    prompt_ids: list[int] = field(default_factory=list)
    layout: list[str] = field(default_factory=list)  # the prompt, a line for each stretch of text or audio
    features: list[Statistics] = field(default_factory=list)
    activations: list[Statistics] = field(default_factory=list)
    sampled: list[dict[str, Any]] = field(default_factory=list)  # id, text, logit and log-probability of each

    def sample(self, token: int, text: str, logits: Tensor) -> None:
        value = float(logits[token])
        logprob = value - float(torch.logsumexp(logits.float(), dim=-1))
        self.sampled.append({"id": token, "text": text, "logit": value, "logprob": logprob})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Takes statistics of what every layer of every `layers` list gives, while the block runs."""
        hooks = [
            module.register_forward_hook(self._note(name))
            for name, module in model.named_modules()
            if name.split(".")[-2:-1] == ["layers"]
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _note(self, name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            self.activations.append(Statistics.of(name, output))

        return note
