"""The reference implementations of native families (transformers), each in the words that its own model uses.

For comparing and for timing: never the fast path, and no backend.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError, InputError
from auricle.models.gemma4 import features as gemma4
from auricle.models.qwen2_audio import features as qwen2_audio

EXTRA = 'pip install "auricle[transformers]"'


@dataclass(frozen=True)
class Heard:
    """What a reference's feature extractor makes of a clip."""

    inputs: dict[str, Tensor]  # arguments of the reference's model, beside `input_ids`
    mel: Tensor  # (frames, mels): as many as ours gives


class Reference:
    """One family's: a class of transformers, its feature extractor, and where its audio tokens leave the model."""

    MODEL: str
    EXTRACTOR: str
    PROJECTOR: str  # the module behind `model`, which gives audio tokens
    MEL_TOLERANCE: float  # of features, in any precision

    def __init__(self, transformers: Any, checkpoint: Checkpoint) -> None:
        self.folder = checkpoint.folder
        try:
            self._model, extractor = getattr(transformers, self.MODEL), getattr(transformers, self.EXTRACTOR)
        except (AttributeError, ImportError) as error:
            raise InputError(
                f"transformers {transformers.__version__} does not know {checkpoint.config['model_type']!r}: "
                f"{EXTRA.replace('install', 'install -U')}"
            ) from error
        self.extractor = extractor(**self.settings(checkpoint))

    def settings(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Of the feature extractor."""
        raise NotImplementedError

    def hear(self, samples: NDArray[np.float32]) -> Heard:
        """One clip at the model's rate."""
        raise NotImplementedError

    def load(self, device: torch.device, dtype: torch.dtype) -> Any:
        return self._model.from_pretrained(self.folder, dtype=dtype).to(device).eval()

    def projector(self, model: Any) -> torch.nn.Module:
        """Gives audio tokens, `(clips, tokens, hidden)`, of the filling as well."""
        module: torch.nn.Module = getattr(model.model, self.PROJECTOR)
        return module


class Gemma4Reference(Reference):
    MODEL, EXTRACTOR = "Gemma4ForConditionalGeneration", "Gemma4AudioFeatureExtractor"
    PROJECTOR = "embed_audio"
    MEL_TOLERANCE = 1e-5  # computed in float64 and stored in float32 by both

    def settings(self, checkpoint: Checkpoint) -> dict[str, Any]:
        settings = gemma4.feature_settings(checkpoint)
        self._silence = gemma4.FeatureConfig.from_dict(settings).trailing_samples  # a setting of ours alone
        return settings

    def hear(self, samples: NDArray[np.float32]) -> Heard:
        clip = np.pad(samples, (0, self._silence))
        given = self.extractor(
            [clip], sampling_rate=self.extractor.sampling_rate, return_tensors="pt", truncation=False
        )
        mask = given["input_features_mask"]
        inputs = {"input_features": given["input_features"], "input_features_mask": mask}
        return Heard(inputs, given["input_features"][mask].float())


class Qwen2AudioReference(Reference):
    MODEL, EXTRACTOR = "Qwen2AudioForConditionalGeneration", "WhisperFeatureExtractor"
    PROJECTOR = "multi_modal_projector"
    MEL_TOLERANCE = 1e-4  # the reference computes in float32

    def settings(self, checkpoint: Checkpoint) -> dict[str, Any]:
        settings = qwen2_audio.feature_settings(checkpoint)
        return {"feature_size": qwen2_audio.FeatureConfig.from_dict(settings).feature_size, **settings}

    def hear(self, samples: NDArray[np.float32]) -> Heard:
        given = self.extractor(
            [samples],
            sampling_rate=self.extractor.sampling_rate,
            padding="max_length",
            return_attention_mask=True,
            return_tensors="pt",
        )
        mel, mask = given["input_features"], given["attention_mask"]
        frames = int(mask.sum())
        computed = torch.zeros(frames + qwen2_audio.AFTER, mel.shape[1])  # past the longest clip ours gives zeros
        own = mel[0, :, : len(computed)].T
        computed[: len(own)] = own
        return Heard({"input_features": mel, "feature_attention_mask": mask}, computed)


# by model_type
REFERENCES: dict[str, type[Reference]] = {"gemma4": Gemma4Reference, "qwen2_audio": Qwen2AudioReference}


def library() -> Any:
    """transformers, quiet.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise InputError(f"verify compares with transformers, which is not installed: {EXTRA}")
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def reference_of(transformers: Any, checkpoint: Checkpoint) -> Reference:
    """The reference for a checkpoint; its weights are not loaded.

    Raises:
        CheckpointError: there is none for its model type.
        InputError: transformers is too old to know it.
    """
    kind = checkpoint.config["model_type"]
    if kind not in REFERENCES:
        raise CheckpointError(f"a {kind!r} model has no reference here; verify knows {', '.join(REFERENCES)}")
    return REFERENCES[kind](transformers, checkpoint)
