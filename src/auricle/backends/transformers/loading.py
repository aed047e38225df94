"""A folder in memory: the model with all its weights, and the processor that makes its inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from auricle.backends.transformers.kinds import Kind, kind_of
from auricle.backends.transformers.library import library, one_line, reading
from auricle.checkpoint import Checkpoint
from auricle.engine.device import choose_device, choose_dtype, use_threads
from auricle.errors import CheckpointError, InputError, UnsupportedError
from auricle.hub import ModelName, find
from auricle.models.family import FAMILIES

# Weights that only training uses (SpecAugment's mask): the best known CTC checkpoints lack them.
ONLY_FOR_TRAINING = ("masked_spec_embed",)
CLIP_SECONDS = 30.0  # where the processor names no limit


@dataclass(frozen=True)
class Loaded:
    """See this file's head."""

    name: str
    folder: Path
    kind: Kind
    model: Any
    processor: Any  # of a labelling model, its feature extractor
    device: torch.device
    dtype: torch.dtype
    version: str  # of transformers

    @property
    def extractor(self) -> Any:
        """What turns sound into features."""
        return getattr(self.processor, "feature_extractor", None) or self.processor

    @property
    def tokenizer(self) -> Any:
        return getattr(self.processor, "tokenizer", None)

    @property
    def rate(self) -> int:
        rate = getattr(self.extractor, "sampling_rate", None)
        if not isinstance(rate, int) or rate <= 0:
            raise CheckpointError(
                f"the feature extractor of {self.folder} names no sampling_rate: fetch the model again"
            )
        return rate

    @property
    def clip_seconds(self) -> float:
        """The longest clip that the processor takes without cutting off its end in silence."""
        for owner, attribute in ((self.processor, "max_audio_len"), (self.extractor, "chunk_length")):
            seconds = getattr(owner, attribute, None)
            if isinstance(seconds, int | float) and seconds > 0:
                return float(seconds)
        frames = getattr(self.extractor, "max_length", None)  # the spectrogram transformer's: filter banks, every 10 ms
        return frames / 100 if isinstance(frames, int) and frames > 0 else CLIP_SECONDS

    def inputs(self, features: Any) -> dict[str, Any]:
        """What a processor gave, on the model's device, numbers with a fraction in its dtype."""
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for name, value in features.items()
            if isinstance(value, torch.Tensor)
        }


def open_folder(model: ModelName, device: str, dtype: str, threads: int | None) -> Loaded:
    """Loads a model and its processor.

    Raises:
        InputError: transformers, or a library that this model needs of it, is not installed.
        CheckpointError: the folder is damaged, of an unknown type, or lacks weights.
        UnsupportedError: the model is for none of what Auricle does.
    """
    transformers = library(model)
    chosen = choose_device(device)
    use_threads(threads)
    choose_dtype(dtype, chosen, 0)  # a wrong one is told before anything is read
    folder = find(model)
    checkpoint = Checkpoint(folder)
    kind = kind_of(transformers, folder, checkpoint.config)
    parameters = sum(math.prod(tensor.shape) for tensor in checkpoint.tensors.values())
    precision = choose_dtype(dtype, chosen, parameters)
    try:
        processor = _processor(transformers, folder, kind)
    except CheckpointError as error:
        if checkpoint.config["model_type"] in FAMILIES:
            raise CheckpointError(f'{error}, or run it without "transformers:" in front') from error
        raise
    loaded = _model(transformers, folder, kind, precision).to(chosen).eval()
    # An omni model also speaks; what hears, thinks and writes is its thinker.
    thinker = getattr(loaded, "thinker", None) or loaded
    return Loaded(model.name, folder, kind, thinker, processor, chosen, precision, transformers.__version__)


def _processor(transformers: Any, folder: Path, kind: Kind) -> Any:
    # Without it, transformers takes another tokenizer, whose prompts leave the sound out.
    if (folder / "tekken.json").is_file() and not transformers.utils.is_mistral_common_available():
        raise InputError(
            f"{folder} needs mistral-common, which is not installed or too old: pip install -U mistral-common"
        )
    opener = transformers.AutoFeatureExtractor if kind.task == "labels" else transformers.AutoProcessor
    with reading(folder, "the processor"):
        processor = opener.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    extractor = getattr(processor, "feature_extractor", None) or processor
    if not hasattr(extractor, "sampling_rate"):
        raise UnsupportedError(
            f"{folder} has no feature extractor for sound: it hears nothing; choose a model that takes audio"
        )
    return processor


def _model(transformers: Any, folder: Path, kind: Kind, dtype: torch.dtype) -> Any:
    """The model, every weight of which came from the folder."""
    with reading(folder, "the model"):
        model, info = getattr(transformers, kind.loader).from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # so that they are told with all the others
            output_loading_info=True,
        )
    missing = sorted(name for name in info["missing_keys"] if not name.endswith(ONLY_FOR_TRAINING))
    mismatched = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in info["mismatched_keys"])
    faults = (
        ("lacks", missing),
        ("has, in a shape that its config does not ask for,", mismatched),
        ("has, and its config has no use for,", sorted(info["unexpected_keys"])),
    )
    for fault, names in faults:
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CheckpointError(
                f"{folder} {fault} {', '.join(names[:3])}{more} of {type(model).__name__}: "
                "it is another model than its config says, or damaged; fetch it again"
            )
    if info["error_msgs"]:
        raise CheckpointError(
            f"{folder} can't be loaded ({one_line(ValueError(info['error_msgs'][0]))}): fetch it again"
        )
    return model
