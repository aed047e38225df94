"""One checkpoint loaded twice: by Auricle and by transformers, the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.models.family import open_family, read_one
from auricle.models.gemma4.family import Gemma4Family
from auricle.types import Audio, Message
from tests.parity.sounds import RATE, Samples

CPU = torch.device("cpu")


@dataclass(frozen=True, repr=False)
class Pair:
    ours: Gemma4Family
    theirs: Any  # Gemma4ForConditionalGeneration
    extractor: Any  # Gemma4AudioFeatureExtractor

    def prompt(self, clips: Sequence[Samples], text: str = "Which is louder?", audio_first: bool = False) -> list[int]:
        """Ids of one user turn with these clips."""
        sounds = [Audio(clip, RATE) for clip in clips]
        message = Message("user", (*sounds, text) if audio_first else (text, *sounds))
        return self.ours.prompt([message], [self.ours.audio_tokens(len(clip)) for clip in clips]).ids

    def encoded(self, clips: Sequence[Samples]) -> Tensor:
        """Ours: `(audio tokens, hidden)` of all clips."""
        return torch.cat([self.ours.encode(self.ours.features(clip)) for clip in clips])

    def logits(self, ids: list[int], clips: Sequence[Samples] = ()) -> Tensor:
        """Ours: `(tokens, vocabulary)`, all positions."""
        audio = self.encoded(clips) if clips else None
        with torch.inference_mode():
            return read_one(self.ours, ids, audio, self.ours.new_cache(), wanted=len(ids))

    def reference_inputs(self, ids: list[int], clips: Sequence[Samples] = ()) -> dict[str, Tensor]:
        """What transformers' processor gives its model: the features of all clips, padded, and their mask."""
        inputs = {"input_ids": torch.tensor([ids])}
        if clips:
            features = self.extractor(list(clips), return_tensors="pt")
            inputs["input_features"] = features["input_features"].to(self.theirs.dtype)
            inputs["input_features_mask"] = features["input_features_mask"]
        return inputs

    def reference_encoded(self, clips: Sequence[Samples]) -> Tensor:
        """Theirs: `(audio tokens, hidden)` of all clips, the padding of shorter ones left out."""
        inputs = self.reference_inputs([], clips)
        with torch.inference_mode():
            out = self.theirs.model.get_audio_features(inputs["input_features"], inputs["input_features_mask"])
        return out.pooler_output[out.attention_mask]

    def reference_logits(self, ids: list[int], clips: Sequence[Samples] = ()) -> Tensor:
        """Theirs: `(tokens, vocabulary)`."""
        with torch.inference_mode():
            return self.theirs(**self.reference_inputs(ids, clips)).logits[0]

    def reference_greedy(
        self, ids: list[int], clips: Sequence[Samples], tokens: int, stop: int | None = None
    ) -> list[int]:
        """Theirs: so many greedy tokens; only `stop` ends them earlier."""
        with torch.inference_mode():
            out = self.theirs.generate(
                **self.reference_inputs(ids, clips), max_new_tokens=tokens, do_sample=False, eos_token_id=stop
            )
        return out[0, len(ids) :].tolist()


def load_pair(folder: Path, dtype: str = "float32") -> Pair:
    from transformers import Gemma4AudioFeatureExtractor, Gemma4ForConditionalGeneration

    ours = open_family(Checkpoint(folder))
    assert isinstance(ours, Gemma4Family)
    ours.load(CPU, getattr(torch, dtype))
    theirs = Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    return Pair(ours, theirs, Gemma4AudioFeatureExtractor())


def difference(a: Tensor | np.ndarray, b: Tensor | np.ndarray) -> float:
    """The largest absolute difference; shapes must be the same."""
    a, b = torch.as_tensor(a).double(), torch.as_tensor(b).double()
    assert a.shape == b.shape, f"{tuple(a.shape)} against {tuple(b.shape)}"
    return float((a - b).abs().max())


def error(a: Tensor, exact: Tensor) -> float:
    """Root mean square difference."""
    assert a.shape == exact.shape
    return float((a.double() - exact.double()).square().mean().sqrt())
