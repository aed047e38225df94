"""A model that makes sound, with the codec that its codes are of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from auricle.audiolm.codecs import Codec, load_codec
from auricle.audiolm.making.defaults import MODEL
from auricle.audiolm.model.config import MODEL_TYPE, AudioLMConfig
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.weights import load
from auricle.checkpoint import Checkpoint
from auricle.engine.device import choose_device, choose_dtype, use_threads
from auricle.errors import CheckpointError
from auricle.hub import BUILT_IN, ModelName, find

RATE_TOLERANCE = 1e-4  # of frame rates that are the same
BEST, CHECKPOINT = "best", "checkpoint"  # the model within the folder of a training run, and where the run is


class Loaded(NamedTuple):
    """What sound is made with."""

    lm: AudioLM
    codec: Codec


def load_audiolm(
    name: str | Path = MODEL, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> Loaded:
    """Loads a model and its codec.

    Args:
        name: built in, a model's folder, that of a training run (its best model is taken), or a hub name.
        device: auto, cpu, cuda (or cuda:1, ...), mps; of both.
        dtype: auto, float32, bfloat16, float16; of the model. The codec runs in float32.
        threads: of the CPU; None leaves torch's own choice.

    Raises:
        HubError: there is none of that name.
        CheckpointError: it makes no sound, is damaged, or its codec is another than it was trained with.
        OptionError, DeviceError: the device or the type isn't there.
    """
    use_threads(threads)
    where = choose_device(device)
    checkpoint = open_audiolm(name)
    config = AudioLMConfig.from_json(checkpoint.config)
    codec = load_codec(_codec_name(config, checkpoint), device=device)
    check_codec(config, codec)
    numbers = sum(math.prod(info.shape) for info in checkpoint.tensors.values())
    lm = load(checkpoint.folder, device=where, dtype=choose_dtype(dtype, where, numbers))
    return Loaded(lm.requires_grad_(False), codec)


def open_audiolm(name: str | Path) -> Checkpoint:
    """The folder of a model that makes sound, its weights not read.

    Raises:
        HubError: there is none of that name.
        CheckpointError: it makes no sound.
    """
    folder = Path(name).expanduser()
    if str(name) not in BUILT_IN and (folder / BEST / "config.json").is_file():
        folder = folder / BEST
    elif str(name) in BUILT_IN or not folder.is_dir():
        folder = find(ModelName.parse(str(name), ("native",)))
    if (folder / CHECKPOINT).is_dir() and not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{name} is a training run without a best model yet, which its first validation makes: let it go on"
        )
    checkpoint = Checkpoint(folder)
    kind = checkpoint.config["model_type"]
    if kind != MODEL_TYPE:
        raise CheckpointError(f"{name} makes no sound (it is of the type {kind!r}): name an AudioLM, such as {MODEL}")
    return checkpoint


def check_codec(config: AudioLMConfig, codec: Codec) -> None:
    """
    Raises:
        CheckpointError: the model's codes are none of this codec's.
    """
    wanted = (config.num_quantizers, config.codebook_size, config.frame_rate)
    given = (codec.codebooks, codec.size, codec.frame_rate)
    # A manifest's frame shift is rounded: 44,100 / 512 Hz comes out as 86.132813.
    if wanted[:2] != given[:2] or not math.isclose(config.frame_rate, codec.frame_rate, rel_tol=RATE_TOLERANCE):
        raise CheckpointError(
            f"the model was trained on {_spelt(*wanted)}, and its codec {codec.name} has {_spelt(*given)}: "
            "its config.json must name the codec that it was trained with"
        )


def _codec_name(config: AudioLMConfig, checkpoint: Checkpoint) -> str:
    """The codec of a config: a folder is looked for beside the model, too, so that both can be moved."""
    beside = checkpoint.folder / config.codec
    return str(beside) if config.codec not in BUILT_IN and beside.is_dir() else config.codec


def _spelt(codebooks: int, size: int, frame_rate: float) -> str:
    return f"{codebooks} codebooks of {size} at {frame_rate:g} frames a second"
