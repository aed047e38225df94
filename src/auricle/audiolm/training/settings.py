"""What a training run is asked to do. Every field is a flag of `auricle train`; errors name it as Python does."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from auricle.errors import OptionError

Pattern = Literal["ar-nar", "delay"]
Positions = Literal["rotary", "sine"]
Dtype = Literal["bf16", "float32"]
Optimizer = Literal["adamw", "muon"]
Device = Literal["auto", "cpu", "cuda"]

HIGHEST_LR = 0.01  # of AdamW: what is above diverges
MOST_THREADS = 1024
STAGES = (0, 1, 2)
# What may differ between the command that began a run and the one that goes on with it. None of it changes what is
# computed; other threads and another device round otherwise, so that losses agree, but not to the last bit.
FREE = ("threads", "save_every", "valid_every", "log_every", "minutes", "device", "tensorboard", "out")


@dataclass(frozen=True)
class Every:
    """How often: every so many steps, or every so many seconds; with neither, never."""

    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, name: str, text: str) -> Every:
        """`500` is steps; `90s` and `10m` are time; `0` is never, but for the end.

        Raises:
            OptionError: it is none of these.
        """
        found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)(s|m)", text.strip())
        if found is None:
            raise OptionError(f"{name} is {text!r}; it must be steps (500) or a time (90s, 10m)")
        if found[1]:
            return cls(steps=int(found[1]))
        return cls(seconds=float(found[2]) * (60 if found[3] == "m" else 1))


@dataclass(frozen=True)
class Architecture:
    """The model that is made; its other sizes come from the tokens."""

    pattern: Pattern = "ar-nar"
    decoder_dim: int = 1024
    nhead: int = 16
    num_decoder_layers: int = 12
    nar_layers: int | None = None  # None: num_decoder_layers * nar_scale_factor
    num_quantizers: int = 4
    nar_scale_factor: float = 1.0
    norm_first: bool = True
    add_prenet: bool = False
    bos: bool = True
    predict_end: bool = False
    positions: Positions = "rotary"
    dropout: float = 0.1
    share_embedding: bool = True  # one table a codebook

    def __post_init__(self) -> None:
        _one_of("pattern", self.pattern, get_args(Pattern))
        _one_of("positions", self.positions, get_args(Positions))
        for name in ("decoder_dim", "nhead", "num_decoder_layers", "num_quantizers"):
            _at_least(name, getattr(self, name), 1)
        if self.nar_layers is not None:
            _at_least("nar_layers", self.nar_layers, 1)
        if self.decoder_dim % (2 * self.nhead):
            raise OptionError(f"decoder_dim is {self.decoder_dim}; it must be an even multiple of nhead, {self.nhead}")
        _within("nar_scale_factor", self.nar_scale_factor, 0.01, 100)
        if self.pattern == "ar-nar" and self.num_quantizers > 1:
            self._check_second_half()
        _within("dropout", self.dropout, 0, 0.9)

    def _check_second_half(self) -> None:
        factor = self.nar_scale_factor
        width, heads = int(self.decoder_dim * factor), int(self.nhead * factor)
        if heads < 1 or width % (2 * heads):
            raise OptionError(
                f"nar_scale_factor is {factor:g}, which makes a second half {width} wide with {heads} heads; its width "
                "must be an even multiple of them: change it, decoder_dim or nhead"
            )
        if self.nar_layers is None and int(self.num_decoder_layers * factor) < 1:
            raise OptionError(
                f"nar_scale_factor is {factor:g}, which leaves a second half of {self.num_decoder_layers} layers none: "
                "raise it, or give nar_layers"
            )

    def fields(self) -> dict[str, Any]:
        """As `AudioLMConfig` calls them."""
        return {
            "pattern": self.pattern,
            "d_model": self.decoder_dim,
            "nhead": self.nhead,
            "num_layers": self.num_decoder_layers,
            "nar_layers": self.nar_layers,
            "num_quantizers": self.num_quantizers,
            "nar_scale_factor": self.nar_scale_factor,
            "norm_first": self.norm_first,
            "add_prenet": self.add_prenet,
            "prepend_bos": self.bos,
            "predict_end": self.predict_end,
            "positions": self.positions,
            "dropout": self.dropout,
            "share_embedding": self.share_embedding,
        }


@dataclass(frozen=True)
class Data:
    """Which tokens are read, and how an item is split into prompt and target."""

    manifest_dir: Path
    max_duration: float = 150.0  # seconds of sound in a batch, with its padding
    filter_min_duration: float = 0.5  # seconds
    filter_max_duration: float = 30.0
    prompt_fraction: tuple[float, float] = (0.4, 0.4)  # from, to
    infill: float = 0.0  # share of items with both sides as their prompt
    style: float = 0.0  # share of items with an excerpt to follow
    drop_prompt: float = 0.0  # share of items without a prompt, for guidance
    style_frames: int = 100
    codebook_size: int | None = None  # None: what the codec has

    def __post_init__(self) -> None:
        if not 0 < self.max_duration < math.inf:
            raise OptionError(f"max_duration is {self.max_duration}; it must be a number of seconds above 0")
        least, most = self.filter_min_duration, self.filter_max_duration
        if not 0 <= least < most:
            raise OptionError(f"filter_min_duration is {least}; it must be from 0 to below filter_max_duration, {most}")
        low, high = self.prompt_fraction
        if not 0 <= low <= high < 1:
            raise OptionError(f"prompt_fraction is {low}:{high}; it must be from 0 to below 1, the lower first")
        for name in ("infill", "style", "drop_prompt"):
            _within(name, getattr(self, name), 0, 1)
        _at_least("style_frames", self.style_frames, 1)
        if self.codebook_size is not None:
            _at_least("codebook_size", self.codebook_size, 2)


@dataclass(frozen=True)
class Optimising:
    """How the weights move."""

    train_stage: int = 0  # 0 both, 1 AR alone, 2 NAR alone
    num_epochs: int = 20
    start_epoch: int = 1
    max_steps: int = 0  # stop after, however many epochs that is; 0: as many as num_epochs have
    base_lr: float = 5e-4  # the highest, after the warm-up
    warmup: int | None = None  # steps; None: 5 % of all, at most 1,000
    optimizer: Optimizer = "adamw"
    weight_decay: float = 0.1
    clip_grad: float = 1.0  # 0: off
    accumulate: int = 1  # batches a step
    dtype: Dtype = "bf16"  # of the products; weights and optimizer stay float32
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("train_stage", self.train_stage, STAGES)
        _one_of("optimizer", self.optimizer, get_args(Optimizer))
        _one_of("dtype", self.dtype, get_args(Dtype))
        _at_least("start_epoch", self.start_epoch, 1)
        if self.num_epochs < self.start_epoch:
            raise OptionError(
                f"num_epochs is {self.num_epochs}; it must be at least start_epoch, {self.start_epoch}: it counts "
                "from the first epoch, not from there"
            )
        _at_least("max_steps", self.max_steps, 0)
        self._check_rate()
        if self.warmup is not None:
            _at_least("warmup", self.warmup, 0)
        _within("weight_decay", self.weight_decay, 0, 1)
        if not 0 <= self.clip_grad < math.inf:
            raise OptionError(f"clip_grad is {self.clip_grad}; it must be at least 0, where 0 is off")
        _at_least("accumulate", self.accumulate, 1)
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"seed is {self.seed}; it must be from 0 to 2^63 - 1")

    def _check_rate(self) -> None:
        if 0 < self.base_lr <= HIGHEST_LR:
            return
        why = ": rates like 0.05 were meant for another optimiser, ScaledAdam; use 0.0005" * (self.base_lr > 0)
        raise OptionError(f"base_lr is {self.base_lr}; it must be above 0 and at most {HIGHEST_LR}{why}")


@dataclass(frozen=True)
class Run:
    """Where a run writes, how often, and on what it runs."""

    out: Path
    init: str | None = None  # a model's folder, or a .pt of VALL-E's trainer
    valid_every: Every | None = None  # None: after every epoch; and at the end
    save_every: Every = Every(seconds=600.0)  # and after every validation
    log_every: int = 10  # steps
    minutes: float = 0.0  # stop after; 0: at the end
    threads: int | None = None
    device: Device = "auto"
    tensorboard: bool = True

    def __post_init__(self) -> None:
        _at_least("log_every", self.log_every, 1)
        if not 0 <= self.minutes < math.inf:
            raise OptionError(f"minutes is {self.minutes}; it must be at least 0, where 0 is until the end")
        if self.threads is not None:
            _within("threads", self.threads, 1, MOST_THREADS)
        _one_of("device", self.device, get_args(Device))


@dataclass(frozen=True)
class Settings:
    """A whole training run."""

    data: Data
    run: Run
    architecture: Architecture = field(default_factory=Architecture)
    optimising: Optimising = field(default_factory=Optimising)

    def __post_init__(self) -> None:
        stage, pattern = self.optimising.train_stage, self.architecture.pattern
        if pattern == "delay" and stage != 0:
            raise OptionError(f"train_stage is {stage}; a model of pattern delay has one part, stage 0")
        if stage == 2 and self.architecture.num_quantizers == 1:
            raise OptionError("train_stage is 2; with num_quantizers 1 there is no such part to train")
        if not self.architecture.bos and self.data.drop_prompt:
            raise OptionError("drop_prompt needs bos: without it, an item that has no prompt has no beginning")

    def fixed(self) -> dict[str, Any]:
        """What a run keeps to once it has begun, by the names of the flags."""
        parts = (self.data, self.run, self.architecture, self.optimising)
        found = {name: value for part in parts for name, value in asdict(part).items() if name not in FREE}
        del found["manifest_dir"]  # the data is told by what is in it, wherever it lies
        return found


def parse_fraction(text: str) -> tuple[float, float]:
    """`0.4` -> (0.4, 0.4); `0.1:0.7` -> (0.1, 0.7), drawn anew for each item.

    Raises:
        OptionError: it is neither.
    """
    try:
        low, _, high = text.partition(":")
        return float(low), float(high if ":" in text else low)
    except ValueError:
        raise OptionError(f"prompt_fraction is {text!r}; it must be a number (0.4) or a range (0.1:0.7)") from None


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise OptionError(f"{name} is {value!r}; it must be {', '.join(map(str, allowed))}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise OptionError(f"{name} is {value}; it must be at least {least}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{name} is {value}; it must be from {low} to {high}")
