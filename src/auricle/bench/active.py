"""What a decode step has to read: the measure of how near it comes to the memory's limit."""

from __future__ import annotations

from typing import cast

import torch

from auricle.layers import native
from auricle.models.family import Family
from auricle.models.gemma4.decoder import Decoder
from auricle.models.gemma4.model import Gemma4


def active_bytes(family: Family) -> int:
    """Bytes of weights that one decode step of a loaded model reads, as they are stored: the layers and the head.

    Embedding tables are looked up, a row a token: they count only where one is the head.
    """
    decoder: Decoder = cast(Gemma4, family.model).language_model
    unpacked = {
        path: module.in_features * module.out_features * family.dtype.itemsize
        for path, module in decoder.named_modules()
        if hasattr(module, "in_features")
        and hasattr(module, "bits")
        and not native.takes(torch.empty(0, dtype=family.dtype))
    }  # of packed linears that torch has to multiply: see `quant.packed`
    looked_up = {"embed_tokens_per_layer"} | ({"embed_tokens"} if decoder.lm_head is not None else set())
    total = 0
    for name, tensor in decoder.state_dict().items():
        part, path = name.partition(".")[0], name.rpartition(".")[0]
        if path in unpacked:
            total += unpacked[path] if name.endswith(".weight") else 0
        elif part == "embed_tokens":  # a head that is stored in another type has been copied
            total += 0 if part in looked_up else tensor.numel() * family.dtype.itemsize
        elif part not in looked_up:
            total += tensor.nbytes
    return total
