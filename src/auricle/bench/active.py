"""What a decode step has to read: the measure of how near it comes to the memory's limit."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from auricle.layers import native
from auricle.layers.table import Lookup
from auricle.models.family import Family


def active_bytes(family: Family) -> int:
    """Bytes of weights that one decode step of a loaded model reads, as they are stored: the layers and the head.

    Embedding tables are looked up, a row a token: one counts only where it is the head.
    """
    decoder = cast(nn.Module, family.model.language_model)
    unpacks = not native.takes(torch.empty(0, dtype=family.dtype))  # then torch multiplies: see `quant.packed`
    has_head = getattr(decoder, "lm_head", None) is not None
    total = 0
    for path, module in decoder.named_modules():
        if isinstance(module, Lookup):
            is_head = not has_head and path == "embed_tokens"  # one stored in another type has been copied
            total += module.size * module.width * family.dtype.itemsize if is_head else 0
        elif unpacks and hasattr(module, "bits"):
            total += module.in_features * module.out_features * family.dtype.itemsize
            total += sum(tensor.nbytes for name, tensor in module.state_dict().items() if name == "bias")
        else:
            tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            total += sum(tensor.nbytes for tensor in tensors)
    return total
