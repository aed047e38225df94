"""From a name to a loaded model."""

from __future__ import annotations

import math
from typing import Any

from auricle.api.model import Model
from auricle.backends import BACKENDS, open_backend
from auricle.errors import OptionError, UnsupportedError
from auricle.hub import ModelName
from auricle.types import Remote, Scheduling

CACHE_MB = 256.0  # by default, for what earlier requests computed


def load(
    name: str = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    cache_mb: float = CACHE_MB,
    scheduling: Scheduling | None = None,
    encoder_only: bool = False,
    remote: Remote | None = None,
) -> Model:
    """Loads a model.

    Args:
        name: `[backend:]name[@revision]`: "tiny" (built in), a folder, or a hub name such as "google/gemma-4-E2B-it",
            which is downloaded when it is not in the hub's cache. "openai:NAME" is a server's name for its model.
        device: "auto", "cpu", "cuda" or "mps".
        dtype: "auto", "float32", "bfloat16" or "float16".
        threads: how many CPU threads to use; None leaves torch's choice, and one to a model of under 30 M parameters.
        cache_mb: megabytes for what earlier requests computed: encoded sound, and what was read of prompts. 0 keeps
            nothing.
        scheduling: how many requests are answered at once, and how many may wait.
        encoder_only: load what turns sound into audio tokens, and map nothing of the language model. Such a model can
            `embed` from any stage but "llm", and nothing else.
        remote: of "openai:NAME", the server that has the model, and how patient to be with it.

    Raises:
        HubError: there is no such model, or it can't be fetched.
        CheckpointError: its folder is incomplete, damaged, or of a model type that doesn't run here.
        DeviceError: the device is not there.
        OptionError: an option is outside its range.
        UnsupportedError: an option is not one of this backend.
    """
    model = ModelName.parse(name, tuple(BACKENDS))
    if not 0 <= cache_mb < math.inf:
        raise OptionError(f"cache_mb is {cache_mb}; it must be a number from 0 up (0 keeps nothing)")
    settings: dict[str, Any] = {"device": device, "dtype": dtype, "threads": threads, "cache_mb": cache_mb}
    if encoder_only:
        if model.backend != "native":
            raise UnsupportedError(f"encoder_only is of the native backend, and {name!r} names another: leave it out")
        settings["encoder_only"] = True
    if model.backend == "openai":
        settings["remote"] = remote
    elif remote is not None and remote.base_url is not None:
        raise OptionError(
            f"base_url names a server, and {name!r} runs here: leave it out, or name the server's model as openai:NAME"
        )
    return Model(name, open_backend(model, scheduling=scheduling, **settings))
