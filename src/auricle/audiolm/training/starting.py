"""The model that a run begins with: random, of a folder, or of one of VALL-E's checkpoints; and as it was left."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from auricle.audiolm.model.config import AudioLMConfig
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.weights import load, load_valle
from auricle.errors import CheckpointError, OptionError
from auricle.hub import ModelName, find

FREE = ("dropout", "predict_end", "max_frames")  # what may differ between a model and the one that starts from it
# The flags behind fields that are called otherwise.
FLAGS = {"d_model": "decoder_dim", "num_layers": "num_decoder_layers", "prepend_bos": "bos"}
SHOWN = 5


def begun(config: AudioLMConfig, seed: int, init: str | None, note: Callable[[str], None]) -> AudioLM:
    """A model on the CPU, in float32.

    Args:
        seed: of random weights.
        init: a model's folder or name, or a `.pt` of VALL-E's trainer; None: random weights.
        note: called with what of such a `.pt` had no place, and what of the model it didn't have.

    Raises:
        HubError: there is no such model; CheckpointError: it can't be read, or is of other codebooks.
        OptionError: it is a model of another shape.
    """
    torch.manual_seed(seed)
    model = AudioLM.of(config)
    if init is None:
        return model
    if init.endswith(".pt") or Path(init).is_file():
        report = load_valle(Path(init), model)
        for what, names in (
            ("is left out", report.left_out),
            ("has not as many rows, of which those that are there are taken", report.partly),
            ("is not there, and stays random", report.missing),
            ("is not there, and begins at zero", report.zeroed),
        ):
            if names:
                more = f", and {len(names) - SHOWN} more" * (len(names) > SHOWN)
                note(f"of {init} {what}: {', '.join(sorted(names)[:SHOWN])}{more}")
        return model
    found = load(find(ModelName.parse(init, ("native",))))
    for name, value in vars(config).items():
        if name not in FREE and (other := getattr(found.config, name)) != value:
            raise OptionError(
                f"init {init} is a model with {FLAGS.get(name, name)} {other}, and not {value}: ask for what it has"
            )
    model.load_state_dict(found.state_dict())
    return model


def check_room(config: AudioLMConfig, device: torch.device, bytes_each: int) -> None:
    """Whether a model can be held at all, before it is built.

    Args:
        bytes_each: of a weight, with what is kept for it.

    Raises:
        OptionError: it takes more than the memory of the machine, or of the device.
    """
    weights = 12 * config.num_layers * config.d_model**2 + config.codebook_size * config.d_model
    if config.has_nar:
        weights += 12 * config.nar_depth * config.nar_width**2
    there = _memory(device)
    if weights * bytes_each > there:
        raise OptionError(
            f"a model of decoder_dim {config.d_model} and num_decoder_layers {config.num_layers} with "
            f"{config.codebook_size} entries a codebook needs {weights * bytes_each / 1e9:,.0f} GB of memory or more "
            f"to be trained, and there are {there / 1e9:,.0f}: make it smaller"
        )


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    if not hasattr(os, "sysconf"):  # as on Windows: the system will tell
        return math.inf
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def check_weights(weights: Mapping[str, Tensor], model: nn.Module, out: Path) -> None:
    """Whether a checkpoint's weights are of the model that goes on.

    Raises:
        CheckpointError: they aren't.
    """
    wanted = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    given = {name: tuple(one.shape) for name, one in weights.items()}
    if wanted != given:
        name = next(name for name in {**wanted, **given} if wanted.get(name) != given.get(name))
        raise CheckpointError(
            f"the checkpoint in {out} is of another model ({name} is {given.get(name)}, and not {wanted.get(name)}): "
            "put its own back, or train into another folder"
        )


def rebuilt(config: AudioLMConfig, weights: Mapping[str, Tensor]) -> AudioLM:
    """A model around an `Objective`'s weights, which may come from several processes."""
    with torch.device("meta"):
        model = AudioLM.of(config)
    model.load_state_dict({name.removeprefix("lm."): one for name, one in weights.items()}, assign=True)
    return model
