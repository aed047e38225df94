"""From a model's name to the backend for what its config says it is."""

from __future__ import annotations

import time
from typing import Any

from auricle.backends.transformers.asked import AskedBackend
from auricle.backends.transformers.base import TransformersBackend
from auricle.backends.transformers.labels import LabelsBackend
from auricle.backends.transformers.loading import Loaded, open_folder
from auricle.backends.transformers.prompts import has_template
from auricle.backends.transformers.speech import CtcBackend, SeqToSeqBackend
from auricle.hub import ModelName

BACKENDS: dict[str, type[TransformersBackend]] = {
    "asked": AskedBackend,
    "seq2seq": SeqToSeqBackend,
    "ctc": CtcBackend,
    "labels": LabelsBackend,
}


def open_transformers(
    model: ModelName, *, device: str = "auto", dtype: str = "auto", threads: int | None = None, **_: Any
) -> TransformersBackend:
    """Loads a model; caches and scheduling are the native engine's.

    Raises:
        The errors of `loading.open_folder`.
    """
    begun = time.perf_counter()
    loaded = open_folder(model, device, dtype, threads)
    return _backend(loaded)(loaded, time.perf_counter() - begun)


def _backend(loaded: Loaded) -> type[TransformersBackend]:
    """Some models stand in two tables, of those that are asked and of those that transcribe: a template decides."""
    if loaded.kind.task == "asked" and loaded.kind.also_transcribes and not has_template(loaded):
        return SeqToSeqBackend
    return BACKENDS[loaded.kind.task]
