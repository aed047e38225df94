"""Filling a model from a checkpoint: every tensor in its place, none missing, none left over."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError


def load_weights(
    model: nn.Module,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    *,
    name_in_checkpoint: Callable[[str], str],
    unused: Callable[[Iterable[str]], set[str]],
    mapped: tuple[str, ...] = (),
) -> None:
    """Assigns the checkpoint's tensors to a model built on the meta device.

    Args:
        name_in_checkpoint: from a name of the model's to the checkpoint's.
        unused: which of the checkpoint's names are known and not needed.
        mapped: names of the model's that stay as they are on disk, memory-mapped, whatever the device and dtype.

    Raises:
        CheckpointError: a tensor is missing, left over, or of another shape; the message names it.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wanted = {name_in_checkpoint(name): name for name in shapes}
    found = set(checkpoint.tensors)
    _refuse(checkpoint, "lacks", set(wanted) - found)
    _refuse(checkpoint, "has unknown", found - set(wanted) - unused(found))
    filled = {}
    for stored_name, name in wanted.items():
        shape, stored = shapes[name], checkpoint.tensors[stored_name].shape
        if shape != stored:
            raise CheckpointError(
                f"{checkpoint.folder}: {stored_name} is {stored}, but config.json makes it {shape}: "
                "the files don't belong together"
            )
        tensor = checkpoint.tensor(stored_name)
        filled[name] = tensor if name in mapped else tensor.to(device, dtype if tensor.is_floating_point() else None)
    model.load_state_dict(filled, assign=True)
    model.requires_grad_(False)
    model.eval()


def _refuse(checkpoint: Checkpoint, verb: str, names: set[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise CheckpointError(
            f"{checkpoint.folder} {verb} tensor {min(names)}{more}: the weights and config.json don't belong together"
        )
