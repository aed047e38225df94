"""Sound from sound: continued, a gap in it filled, continued in the manner of another. Names are imported when used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auricle.audiolm.loading import Loaded as Loaded
    from auricle.audiolm.loading import load_audiolm as load_audiolm
    from auricle.audiolm.making.continuation import continue_audio as continue_audio
    from auricle.audiolm.making.continuation import continuing as continuing
    from auricle.audiolm.making.continuation import restyle_audio as restyle_audio
    from auricle.audiolm.making.continuation import restyling as restyling
    from auricle.audiolm.making.gaps import infill_audio as infill_audio
    from auricle.audiolm.making.gaps import infilling as infilling
    from auricle.audiolm.making.job import Making as Making
    from auricle.audiolm.making.made import Made as Made
    from auricle.audiolm.making.made import Piece as Piece
    from auricle.audiolm.making.made import Times as Times
    from auricle.audiolm.making.options import MakingOptions as MakingOptions
    from auricle.audiolm.making.options import Options as Options
    from auricle.audiolm.making.windows import Window as Window

_HOMES = {
    "auricle.audiolm.loading": ("Loaded", "load_audiolm"),
    "auricle.audiolm.making.continuation": ("continue_audio", "continuing", "restyle_audio", "restyling"),
    "auricle.audiolm.making.gaps": ("infill_audio", "infilling"),
    "auricle.audiolm.making.job": ("Making",),
    "auricle.audiolm.making.made": ("Made", "Piece", "Times"),
    "auricle.audiolm.making.options": ("MakingOptions", "Options"),
    "auricle.audiolm.making.windows": ("Window",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'auricle.audiolm.making' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
