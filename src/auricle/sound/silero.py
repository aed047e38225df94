"""The model of Silero VAD, from the wheel of silero-vad: of the package, its TorchScript file alone is used.

Importing the package would set torch's threads to one for the whole program, and older ones need torchaudio.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from auricle.errors import OptionError

FRAME = 512  # samples, 32 ms: what the model takes at 16 kHz; it keeps 64 samples of the frame before itself
RATE = 16_000


def find_silero() -> Path | None:
    """Where the model is; None where the package isn't installed.

    Raises:
        OptionError: the package is there without its model.
    """
    package = find_spec("silero_vad")  # finds it without importing it
    if package is None:
        return None
    for folder in package.submodule_search_locations or []:
        if (path := Path(folder) / "data" / "silero_vad.jit").is_file():
            return path
    raise OptionError(
        "silero-vad is installed without data/silero_vad.jit; "
        "install 6.2 or newer: pip install -U silero-vad, or choose energy"
    )


def load_silero(path: Path) -> Any:
    """The model on the CPU: called with `(512,)` or `(clips, 512)` and 16000, it gives one probability each.

    It remembers the frames before; `reset_states()` forgets them.
    """
    import torch  # only here: this room loads no torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.load: the wheel has no other torch model
        return torch.jit.load(path, map_location="cpu").eval()
