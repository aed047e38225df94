"""Codecs: sound as a few small numbers a frame. A codec is found by the `model_type` of its folder's config."""

from __future__ import annotations

import importlib

from auricle.audiolm.codecs.interface import Codec, CodecStream
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.hub import ModelName, find

DEFAULT = "tiny-codec"

# model_type -> "module:attribute" of a class built as `cls(checkpoint, name, device)`
CODECS = {"encodec": "auricle.audiolm.codecs.encodec:Encodec"}


def load_codec(name: str = DEFAULT, *, device: str = "auto") -> Codec:
    """A codec by name: built in, a folder, or of the hub, such as `facebook/encodec_32khz`.

    Raises:
        HubError: there is none of that name.
        CheckpointError: the folder holds no codec that we run.
        DeviceError: the device isn't there.
    """
    checkpoint = Checkpoint(find(ModelName.parse(name, ("native",))))
    kind = checkpoint.config["model_type"]
    if kind not in CODECS:
        raise CheckpointError(f"{name} is no codec but a {kind}; codecs are {', '.join(CODECS)}, such as {DEFAULT}")
    module, _, attribute = CODECS[kind].partition(":")
    codec: Codec = getattr(importlib.import_module(module), attribute)(checkpoint, name, device)
    return codec


__all__ = ["CODECS", "DEFAULT", "Codec", "CodecStream", "load_codec"]
