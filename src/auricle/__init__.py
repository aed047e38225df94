"""Auricle: ask, transcribe, embed, measure, serve and continue sound with open audio language models.

The public names, imported when they are first used: `import auricle` brings no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auricle.api import Chat as Chat
    from auricle.api import Model as Model
    from auricle.api import load as load
    from auricle.audiolm.making import continue_audio as continue_audio
    from auricle.audiolm.making import infill_audio as infill_audio
    from auricle.audiolm.making import restyle_audio as restyle_audio
    from auricle.errors import AuricleError as AuricleError
    from auricle.errors import BusyError as BusyError
    from auricle.errors import DeadlineError as DeadlineError
    from auricle.types import Answer as Answer
    from auricle.types import Audio as Audio
    from auricle.types import CacheUse as CacheUse
    from auricle.types import Chunk as Chunk
    from auricle.types import Embedding as Embedding
    from auricle.types import Extraction as Extraction
    from auricle.types import HiddenStates as HiddenStates
    from auricle.types import Label as Label
    from auricle.types import Labels as Labels
    from auricle.types import Message as Message
    from auricle.types import Remote as Remote
    from auricle.types import Sampling as Sampling
    from auricle.types import Scheduling as Scheduling
    from auricle.types import Scores as Scores
    from auricle.types import Timings as Timings
    from auricle.types import Transcript as Transcript

__version__ = "0.1.0"

_HOMES = {
    "auricle.api": ("Chat", "Model", "load"),
    "auricle.audiolm.making": ("continue_audio", "infill_audio", "restyle_audio"),
    "auricle.errors": ("AuricleError", "BusyError", "DeadlineError"),
    "auricle.types": (
        "Answer",
        "Audio",
        "CacheUse",
        "Chunk",
        "Embedding",
        "Extraction",
        "HiddenStates",
        "Label",
        "Labels",
        "Message",
        "Remote",
        "Sampling",
        "Scheduling",
        "Scores",
        "Timings",
        "Transcript",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    *_HOME,
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'auricle' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
