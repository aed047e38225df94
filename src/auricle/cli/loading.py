"""Loading a model for a command."""

from __future__ import annotations

from auricle import api
from auricle.backends import BACKENDS
from auricle.cli import show
from auricle.cli.options import Hardware
from auricle.hub import ModelName, find
from auricle.types import Remote


def load(
    model: str,
    hardware: Hardware,
    cache_mb: float = api.CACHE_MB,
    *,
    encoder_only: bool = False,
    remote: Remote | None = None,
) -> api.Model:
    """Loads a model, saying so on a terminal; a download shows its own progress first. Notes go to stderr."""
    name = ModelName.parse(model, tuple(BACKENDS))
    if name.backend in ("native", "transformers"):
        find(name)
    with show.waiting(f"loading {model}"):
        loaded = api.load(
            model,
            device=hardware.device,
            dtype=hardware.dtype,
            threads=hardware.threads,
            cache_mb=cache_mb,
            encoder_only=encoder_only and name.backend == "native",
            remote=remote,
        )
    for remark in loaded.backend.notes:
        show.note(remark)
    return loaded
