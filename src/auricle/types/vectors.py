"""What a model looks like inside."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args

from auricle.errors import OptionError
from auricle.types.answers import Segment
from auricle.types.asking import DEFAULT_QUESTION, Order
from auricle.types.checks import require, require_one_of, require_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Stage = Literal["encoder", "tower", "projector", "llm"]
"""Where in a model vectors are taken from.

encoder: the blocks of the audio encoder; layer 0 is what the first is given, n what block n gives.
tower: what leaves the audio tower for the projector.
projector: audio tokens as the language model is given them.
llm: the decoder's blocks; layer 0 is its input, audio tokens among it, the last is what comes after the final norm.
"""


TokenChoice = Literal["audio", "text", "last", "all"]


VectorKind = Literal["audio", "text", "all"]


Layers: TypeAlias = str | int | tuple[int, ...]
"""Which layers: "-1", "0,4,-1", "8:24:4" (a slice, as Python has them), "all"; or numbers."""


@dataclass(frozen=True)
class StageShape:
    """What a model's stage gives."""

    blocks: int  # so that layers go from 0 to this; 0 is a stage of one output, to which layers don't apply
    width: int  # numbers in a vector
    step_s: float  # seconds that one vector of sound covers


class ExtractionOptions(TypedDict, total=False):
    """The fields of `Extraction`, for functions that take them as keyword arguments."""

    stage: Stage
    layers: Layers
    tokens: TokenChoice
    pooling: str
    prompt: str
    order: Order
    overlap: float
    dtype: Literal["float32", "float16"]


@dataclass(frozen=True)
class Extraction:
    """What to take out of a model that hears a sound."""

    stage: Stage = "encoder"
    layers: Layers = "-1"
    tokens: TokenChoice = "audio"  # other than audio: of stage llm only; "last" is the prompt's last position
    pooling: str = "none"  # or mean, max, last, window=SECONDS
    prompt: str = DEFAULT_QUESTION  # of stage llm only, as `order` is
    order: Order | None = None
    overlap: float = 5.0  # seconds that neighbouring chunks share of a sound longer than a clip
    dtype: Literal["float32", "float16"] = "float32"  # of the vectors given, whatever the model computes in

    def __post_init__(self) -> None:
        for name in ("stage", "tokens", "dtype", *(["order"] if self.order is not None else [])):
            require_one_of(name, getattr(self, name), _CHOICES[name])
        if self.tokens != "audio" and self.stage != "llm":
            raise OptionError(f"tokens is {self.tokens!r}, and stage {self.stage!r} has audio alone: use stage 'llm'")
        require_text("prompt", self.prompt)
        number = isinstance(self.overlap, int | float) and not isinstance(self.overlap, bool)
        require(number and 0 <= self.overlap < math.inf, "overlap", repr(self.overlap), "a number of seconds from 0 up")
        if self.window is not None and self.tokens != "audio":
            raise OptionError(f"pooling is {self.pooling!r}, which is of sound alone: use tokens 'audio'")

    @property
    def window(self) -> float | None:
        """Of windows that are pooled, the seconds; None for any other pooling."""
        if self.pooling in ("none", "mean", "max", "last"):
            return None
        name, _, value = str(self.pooling).partition("=")
        try:
            seconds = float(value) if name == "window" else 0.0
        except ValueError:
            seconds = 0.0
        known = "none, mean, max, last or window=SECONDS, such as window=1.0"
        require(0 < seconds < math.inf, "pooling", repr(self.pooling), known)
        return seconds


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a sound looks like inside a model: a vector for every stretch of time and asked layer, or pooled ones."""

    vectors: NDArray[Any]  # (layers, vectors, width), of the dtype asked for
    layers: tuple[int, ...]  # counted from 0, in the order asked for
    start_s: NDArray[np.float64]  # (vectors,) seconds in the source; NaN where a vector is of text alone
    end_s: NDArray[np.float64]
    kinds: tuple[VectorKind, ...]  # what each vector is of; "all" is pooled from sound and text
    source: str
    seconds: float  # of the sound
    chunks: int  # clips that the sound was cut into
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenLabel:
    """One position of a prompt."""

    kind: Literal["audio", "text"]
    text: str  # how the tokenizer writes it
    clip: int | None = None  # of sound: which clip of the prompt, counted from 0
    start_s: float = math.nan  # of sound: seconds in the clip's source
    end_s: float = math.nan


@dataclass(frozen=True, eq=False)
class HiddenStates:
    """What layers of the decoder give in one forward pass over a prompt."""

    values: NDArray[np.float32]  # (layers, tokens, width)
    layers: tuple[int, ...]  # counted from 0: 0 is the embeddings, the last comes after the final norm
    tokens: tuple[TokenLabel, ...]
    segments: tuple[Segment, ...]  # the clips of the prompt, in order
    notes: tuple[str, ...] = ()

    def of(self, kind: Literal["audio", "text"], clip: int | None = None) -> HiddenStates:
        """The positions of sound alone, all or one clip's; or of text alone."""
        at = [i for i, token in enumerate(self.tokens) if token.kind == kind and clip in (None, token.clip)]
        if not at:
            raise OptionError(f"no token is of kind {kind!r}" + ("" if clip is None else f" and clip {clip}"))
        return replace(self, values=self.values[:, at], tokens=tuple(self.tokens[i] for i in at))

    def layer(self, number: int) -> NDArray[np.float32]:
        """`(tokens, width)` of one layer, by its own number; -1 is the last one here."""
        if number != -1 and number not in self.layers:
            raise OptionError(f"layer {number} is not among those taken: {', '.join(map(str, self.layers))}")
        return self.values[-1 if number == -1 else self.layers.index(number)]


_CHOICES: dict[str, tuple[str, ...]] = {
    "stage": get_args(Stage),
    "tokens": get_args(TokenChoice),
    "order": get_args(Order),
    "dtype": ("float32", "float16"),
}
