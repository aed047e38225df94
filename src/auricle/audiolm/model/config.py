"""What an AudioLM is built from: the constructor arguments of VALL-E's AudioLM, and what was added to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from auricle.errors import CheckpointError, OptionError

MODEL_TYPE = "auricle_audiolm"
PATTERNS = ("ar-nar", "delay")
POSITIONS = ("rotary", "sine")


@dataclass(frozen=True)
class AudioLMConfig:
    """One model. The first eight fields are those of VALL-E's AudioLM, whose checkpoints have `prepend_bos=False`.

    Raises:
        OptionError: a field is outside its range; the message names it.
    """

    d_model: int = 1024
    nhead: int = 16
    num_layers: int = 12
    norm_first: bool = True  # False: norms after each sum, and none at the end
    add_prenet: bool = False  # three narrow linears between the embeddings and the transformer
    num_quantizers: int = 4  # codebooks
    nar_scale_factor: float = 1.0  # width, heads and layers of the NAR half, against the AR half's
    prepend_bos: bool = True  # False: the first frame is predicted from the last one of the prompt
    codebook_size: int = 2048
    pattern: str = "ar-nar"  # "delay": one transformer with a head for each codebook
    predict_end: bool = False  # learns where a sound ends; clips that are crops would teach it where they were cut
    positions: str = "rotary"  # "sine": VALL-E's, which begin again in the target; for its checkpoints
    dropout: float = 0.1
    codec: str = "facebook/encodec_32khz"  # what the codes are of
    frame_rate: float = 50.0  # frames a second
    nar_layers: int | None = None  # None: num_layers * nar_scale_factor
    max_frames: int = 750  # the longest prompt and target together that it was trained on; windows keep to it
    share_embedding: bool = True  # one table a codebook for prompt, target and the NAR's output; VALL-E's has three

    def __post_init__(self) -> None:
        self._check_numbers()
        for name, values in (("pattern", PATTERNS), ("positions", POSITIONS)):
            if getattr(self, name) not in values:
                raise OptionError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(values)}")
        _check_heads("d_model", self.d_model, "nhead", self.nhead)
        if self.has_nar:
            _check_heads("d_model * nar_scale_factor", self.nar_width, "nhead * nar_scale_factor", self.nar_heads)
            if self.nar_depth < 1:
                raise OptionError(f"num_layers * nar_scale_factor leaves {self.nar_depth} layers; it leaves 1 or more")

    def _check_numbers(self) -> None:
        whole = ("d_model", "nhead", "num_layers", "num_quantizers", "codebook_size", "nar_layers", "max_frames")
        for name in whole:
            value = getattr(self, name)
            least = 2 if name in ("codebook_size", "max_frames") else 1
            if name == "nar_layers" and value is None:
                continue
            if type(value) is not int or value < least:
                raise OptionError(f"{name} is {value!r}; it is a whole number from {least}")
        for name in ("norm_first", "add_prenet", "prepend_bos", "predict_end", "share_embedding"):
            if type(getattr(self, name)) is not bool:
                raise OptionError(f"{name} is {getattr(self, name)!r}; it is true or false")
        for name in ("nar_scale_factor", "frame_rate", "dropout"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise OptionError(f"{name} is {value!r}; it is a number")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout is {self.dropout}; it lies in 0 <= dropout < 1")
        for name in ("nar_scale_factor", "frame_rate"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name} is {getattr(self, name)}; it is above 0")
        if type(self.codec) is not str:
            raise OptionError(f"codec is {self.codec!r}; it is a name or a folder")

    @property
    def has_nar(self) -> bool:
        """Whether there is a second half: not in the delay pattern, and not for one codebook."""
        return self.pattern == "ar-nar" and self.num_quantizers > 1

    @property
    def nar_width(self) -> int:
        return int(self.d_model * self.nar_scale_factor)

    @property
    def nar_heads(self) -> int:
        return int(self.nhead * self.nar_scale_factor)

    @property
    def nar_depth(self) -> int:
        return int(self.num_layers * self.nar_scale_factor) if self.nar_layers is None else self.nar_layers

    @property
    def streams(self) -> int:
        """Codebooks that the AR half predicts: all of them in the delay pattern."""
        return self.num_quantizers if self.pattern == "delay" else 1

    @property
    def end(self) -> int:
        """The id of the end, the first after the codes."""
        return self.codebook_size

    @property
    def start(self) -> int:
        """The id that stands where no code is yet: BOS, or without one the end's, which nothing else is fed as."""
        return self.codebook_size + int(self.prepend_bos)

    def json(self) -> dict[str, Any]:
        """As `config.json` has it."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> AudioLMConfig:
        """
        Raises:
            CheckpointError: it is another model's, or of a later version, or a field has no value we know.
        """
        if config.get("model_type") != MODEL_TYPE:
            raise CheckpointError(f"config.json is of a {config.get('model_type')!r}, and not of an {MODEL_TYPE}")
        given = {name: value for name, value in config.items() if name != "model_type"}
        unknown = sorted(given.keys() - {one.name for one in fields(cls)})
        if unknown:
            raise CheckpointError(f"config.json has a field {unknown[0]} that this version of Auricle does not know")
        try:
            return cls(**given)
        except OptionError as error:
            raise CheckpointError(f"config.json can't be used: {error}") from error


def _check_heads(width_name: str, width: int, heads_name: str, heads: int) -> None:
    if heads < 1 or width % heads or width // heads % 2:
        raise OptionError(
            f"{width_name} is {width} and {heads_name} {heads}; the width is an even multiple of the number of heads"
        )
