"""Silero VAD as a classifier of whole clips: is there speech anywhere in it?

A clip's score is the highest probability over its frames of 32 ms. The model remembers what it heard, so every clip
begins with an empty memory: noise that follows a vowel would score tens of times higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.api.sounds import read_sound
from auricle.errors import AuricleError, OptionError, SoundError, UnsupportedError
from auricle.evaluation.classifiers.interface import Classified
from auricle.sound.silero import FRAME, RATE, find_silero, load_silero
from auricle.types import Audio

THRESHOLD = 0.5  # its own default; the report chooses one on dev


class Silero:
    """Speech, the first of two labels, or not. `logits`: the highest probability, their mean, the share from 0.5 on."""

    def __init__(self, labels: Sequence[str]) -> None:
        """
        Raises:
            OptionError: there are not two labels, or the second is the one called speech.
            UnsupportedError: silero-vad is not installed.
        """
        self.labels = speech_first(labels, "silero")
        path = find_silero()
        if path is None:
            raise UnsupportedError('silero needs silero-vad, which is not installed: pip install "auricle[eval]"')
        self._model = load_silero(path)

    def provenance(self) -> dict[str, Any]:
        return {
            "model": "silero",
            "revision": f"silero-vad {version('silero-vad')}",
            "backend": "silero",
            "device": "cpu",
            "dtype": "float32",
            "auricle": version("auricle"),
            "rule": f"threshold {THRESHOLD}",
        }

    def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
        """Clips side by side; each has rows of its own in the model's memory."""
        if not sounds:
            return []
        begun = perf_counter()
        read = [_samples(sound) for sound in sounds]
        clips = [one for one in read if not isinstance(one, AuricleError)]
        before_ms, begun = 1000 * (perf_counter() - begun) / len(sounds), perf_counter()
        found = iter(self._probabilities(clips))
        model_ms = 1000 * (perf_counter() - begun) / len(sounds)
        return [
            one if isinstance(one, AuricleError) else self._classified(next(found), before_ms, model_ms) for one in read
        ]

    def _probabilities(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
        """Of each clip's frames, `(frames,)`; the last frame is filled up with zeros."""
        import torch

        counts = [-(-len(clip) // FRAME) for clip in clips]
        frames = np.zeros((len(clips), max(counts, default=0), FRAME), np.float32)
        for row, clip in zip(frames, clips, strict=True):
            row.reshape(-1)[: len(clip)] = clip
        self._model.reset_states()
        # Without TorchScript's optimiser, which compiles anew for each number of clips: 0.1 s, and no faster after.
        with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            steps = [self._model(torch.from_numpy(step), RATE)[:, 0] for step in frames.swapaxes(0, 1)]
        self._model.reset_states()
        found = torch.stack(steps, 1).double().numpy() if steps else np.empty((0, 0))
        return [row[:count] for row, count in zip(found, counts, strict=True)]

    def _classified(self, probabilities: NDArray[np.float64], preprocess_ms: float, model_ms: float) -> Classified:
        most = float(probabilities.max())
        scores = (most, float(probabilities.mean()), float((probabilities >= THRESHOLD).mean()))
        label = self.labels[0 if most >= THRESHOLD else 1]
        return Classified(label, (most, 1 - most), scores, "", f"threshold {THRESHOLD}", preprocess_ms, model_ms)


def speech_first(labels: Sequence[str], name: str) -> tuple[str, ...]:
    """Two labels, of which the first is what a detector finds.

    Raises:
        OptionError: they are not two, or the second is the one called speech.
    """
    if len(labels) != 2:
        raise OptionError(
            f"labels has {len(labels)}, and {name} tells two apart: name the one of speech, then the other"
        )
    if labels[1].casefold() == "speech":
        raise OptionError(f"labels are {labels[0]}, {labels[1]}, and {name} finds the first: name speech first")
    return tuple(labels)


def _samples(sound: Audio) -> NDArray[np.float32] | SoundError:
    """`(samples,)` at 16 kHz."""
    try:
        return read_sound(sound, RATE).samples
    except SoundError as error:
        return error
