"""Filling a model from a checkpoint: every tensor in its place, none missing, none left over."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError

# What safetensors calls the types that packed tensors have.
STORED_AS = {torch.uint8: "U8", torch.int8: "I8", torch.float16: "F16", torch.float32: "F32"}


class WholeModel(nn.Module):
    """A family's model, whose modules carry the names that their tensors have in a checkpoint."""

    def checkpoint_name(self, name: str) -> str:
        """The checkpoint's name of one of our tensors: the one place where names are changed."""
        return name

    def unused(self, names: Iterable[str]) -> set[str]:
        """Tensors of a checkpoint that are known and not needed here."""
        return set()

    def origin(self, path: str) -> str:
        """The module of a dense checkpoint whose weight a packed module's is made from: itself, unless it is tied."""
        return path


def load_weights(
    model: WholeModel,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    *,
    without: tuple[str, ...] = (),
) -> None:
    """Assigns the checkpoint's tensors to a model built on the meta device, brought to `device` and `dtype`.

    Modules named in `without` are left as they are, on the meta device: of their tensors not a byte is mapped. That
    they fit is checked all the same, by the files' headers.

    A module can say otherwise for its own tensors. Those of one with `mapped = True` stay as they are on disk,
    memory-mapped. Those that its `exact` names keep their dtype, which has to be the one stored.

    Raises:
        CheckpointError: a tensor is missing, left over, or of another shape or type; the message names it.
    """
    filled = {}
    left_out = tuple(f"{path}." for path in without)
    for name, stored_name in match(model, checkpoint).items():
        if name.startswith(left_out):
            continue
        tensor = checkpoint.tensor(stored_name)
        module, part = owner(model, name)
        if getattr(module, "mapped", False):
            filled[name] = tensor
        elif part in getattr(module, "exact", ()) or not tensor.is_floating_point():
            filled[name] = tensor.to(device)
        else:
            filled[name] = tensor.to(device, dtype)
    model.load_state_dict(filled, strict=not without, assign=True)  # `match` has seen that no other is missing
    model.requires_grad_(False)
    model.eval()


def match(model: WholeModel, checkpoint: Checkpoint) -> dict[str, str]:
    """The model's names, each with the checkpoint's name for it, once both are known to fit.

    Raises:
        CheckpointError: as `load_weights`.
    """
    held = model.state_dict()
    wanted = {name: model.checkpoint_name(name) for name in held}
    found = set(checkpoint.tensors)
    _refuse(checkpoint, "lacks", set(wanted.values()) - found)
    _refuse(checkpoint, "has unknown", found - set(wanted.values()) - model.unused(found))
    for name, stored_name in wanted.items():
        stored, shape = checkpoint.tensors[stored_name], tuple(held[name].shape)
        if shape != stored.shape:
            raise CheckpointError(
                f"{checkpoint.folder}: {stored_name} is {stored.shape}, but config.json makes it {shape}: "
                "the files don't belong together"
            )
        module, part = owner(model, name)
        kind = STORED_AS.get(held[name].dtype)
        if part in getattr(module, "exact", ()) and stored.dtype != kind:
            raise CheckpointError(
                f"{checkpoint.folder}: {stored_name} is stored as {stored.dtype}, but config.json makes it {kind}: "
                "the files don't belong together"
            )
    return wanted


def owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that a tensor belongs to, and what the module calls it."""
    path, _, part = name.rpartition(".")
    return model.get_submodule(path), part


def _refuse(checkpoint: Checkpoint, verb: str, names: set[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise CheckpointError(
            f"{checkpoint.folder} {verb} tensor {min(names)}{more}: the weights and config.json don't belong together"
        )
