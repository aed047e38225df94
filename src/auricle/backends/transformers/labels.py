"""Audio-classification heads: a sound to the labels that the model was trained with."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from auricle.backends.transformers.base import TransformersBackend, clips_of
from auricle.backends.transformers.hearing import heard
from auricle.errors import CheckpointError
from auricle.types import Ask, Label, Labels, Segment, Timings


class LabelsBackend(TransformersBackend):
    """See `backends.Backend`."""

    does = "only classifies"

    @property
    def own_labels(self) -> tuple[str, ...]:
        names = self.loaded.model.config.id2label
        return tuple(str(names[number]) for number in sorted(names))

    def classify(self, ask: Ask) -> Labels:
        """Of several clips, the mean of their probabilities, each as much as it is long."""
        self.refuse_native_terms(ask)
        started = time.perf_counter()
        clips = clips_of(ask)
        shares = torch.stack([self._probabilities(heard(self.loaded, clip)) for clip in clips])
        self.refuse_late(ask, time.perf_counter() - started)
        seconds = torch.tensor([clip.seconds for clip in clips])
        mean = (shares * (seconds / seconds.sum())[:, None]).sum(dim=0)
        labels = [Label(name, share) for name, share in zip(self._names(len(mean)), mean.tolist(), strict=True)]
        total_s = time.perf_counter() - started
        notes = ("the probabilities are the mean over these clips",) if len(clips) > 1 else ()
        return Labels(
            tuple(sorted(labels, key=lambda label: -label.probability)),
            tuple(Segment(clip.source, clip.start_s, clip.start_s + clip.seconds, 0) for clip in clips),
            Timings(ttft_s=total_s, total_s=total_s),
            multiple=self._multiple,
            notes=(*ask.notes, *notes),
        )

    @property
    def _multiple(self) -> bool:
        return bool(self.loaded.model.config.problem_type == "multi_label_classification")

    def _probabilities(self, inputs: dict[str, Any]) -> Tensor:
        """`(labels,)` on the CPU in float32."""
        with torch.inference_mode(), self.failing():
            logits: Tensor = self.loaded.model(**inputs).logits[0].float().cpu()
        return logits.sigmoid() if self._multiple else logits.softmax(-1)

    def _names(self, count: int) -> tuple[str, ...]:
        names = self.own_labels
        if len(names) != count:
            raise CheckpointError(
                f"{self.loaded.folder}/config.json has {len(names)} labels, and the model gives {count}: fetch it again"
            )
        return names
