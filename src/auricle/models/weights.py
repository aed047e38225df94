"""Filling a model from a checkpoint: every tensor in its place, none missing, none left over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from auricle.checkpoint import Checkpoint, TensorInfo
from auricle.errors import CheckpointError

# What safetensors calls the types that packed tensors have.
STORED_AS = {torch.uint8: "U8", torch.int8: "I8", torch.float16: "F16", torch.float32: "F32"}


class Tensors(Protocol):
    """What a checkpoint is, as far as its names and shapes matter."""

    @property
    def folder(self) -> Path: ...

    @property
    def tensors(self) -> dict[str, TensorInfo]: ...


def load_weights(
    model: nn.Module,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    *,
    name_in_checkpoint: Callable[[str], str],
    unused: Callable[[Iterable[str]], set[str]],
) -> None:
    """Assigns the checkpoint's tensors to a model built on the meta device, brought to `device` and `dtype`.

    A module can say otherwise for its own tensors. Those of one with `mapped = True` stay as they are on disk,
    memory-mapped. Those that its `exact` names keep their dtype, which has to be the one stored.

    Args:
        name_in_checkpoint: from a name of the model's to the checkpoint's.
        unused: which of the checkpoint's names are known and not needed.

    Raises:
        CheckpointError: a tensor is missing, left over, or of another shape or type; the message names it.
    """
    filled = {}
    for name, stored_name in match(model, checkpoint, name_in_checkpoint, unused).items():
        tensor = checkpoint.tensor(stored_name)
        module, part = _owner(model, name)
        if getattr(module, "mapped", False):
            filled[name] = tensor
        elif part in getattr(module, "exact", ()) or not tensor.is_floating_point():
            filled[name] = tensor.to(device)
        else:
            filled[name] = tensor.to(device, dtype)
    model.load_state_dict(filled, assign=True)
    model.requires_grad_(False)
    model.eval()


def match(
    model: nn.Module,
    checkpoint: Tensors,
    name_in_checkpoint: Callable[[str], str],
    unused: Callable[[Iterable[str]], set[str]],
) -> dict[str, str]:
    """The model's names, each with the checkpoint's name for it, once both are known to fit; errors as above."""
    held = model.state_dict()
    wanted = {name: name_in_checkpoint(name) for name in held}
    found = set(checkpoint.tensors)
    _refuse(checkpoint, "lacks", set(wanted.values()) - found)
    _refuse(checkpoint, "has unknown", found - set(wanted.values()) - unused(found))
    for name, stored_name in wanted.items():
        stored, shape = checkpoint.tensors[stored_name], tuple(held[name].shape)
        if shape != stored.shape:
            raise CheckpointError(
                f"{checkpoint.folder}: {stored_name} is {stored.shape}, but config.json makes it {shape}: "
                "the files don't belong together"
            )
        module, part = _owner(model, name)
        kind = STORED_AS.get(held[name].dtype)
        if part in getattr(module, "exact", ()) and stored.dtype != kind:
            raise CheckpointError(
                f"{checkpoint.folder}: {stored_name} is stored as {stored.dtype}, but config.json makes it {kind}: "
                "the files don't belong together"
            )
    return wanted


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that a tensor belongs to, and what the module calls it."""
    path, _, part = name.rpartition(".")
    return model.get_submodule(path), part


def _refuse(checkpoint: Tensors, verb: str, names: set[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise CheckpointError(
            f"{checkpoint.folder} {verb} tensor {min(names)}{more}: the weights and config.json don't belong together"
        )
