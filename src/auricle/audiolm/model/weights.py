"""Models in folders, and what can be taken from VALL-E's checkpoints."""

from __future__ import annotations

import json
import pathlib
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from auricle.audiolm.model.config import AudioLMConfig
from auricle.audiolm.model.lm import AudioLM
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.jobs.folder import replaced, told_when_full


def save(model: AudioLM, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Writes `model.safetensors` and `config.json`, each whole or not at all.

    Args:
        dtype: bfloat16 or float32; None: as the model is.

    Raises:
        InputError, AuricleError: the folder can't be written to, or its disk is full.
    """
    tensors = {name: one.detach().to("cpu", dtype).contiguous() for name, one in model.state_dict().items()}
    with told_when_full(folder, "the model is not written"):
        folder.mkdir(parents=True, exist_ok=True)
        replaced(folder / "model.safetensors", safetensors_bytes(tensors, metadata={"format": "pt"}))
        replaced(folder / "config.json", (json.dumps(model.config.json(), indent=2) + "\n").encode())


def load(folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> AudioLM:
    """A model from a folder, ready to generate.

    Args:
        dtype: None: as it was saved.

    Raises:
        CheckpointError: the folder is missing, damaged, another model's, or its tensors aren't what its config says.
    """
    checkpoint = Checkpoint(folder)
    config = AudioLMConfig.from_json(checkpoint.config)
    with torch.device("meta"):  # room is taken when tensors are
        model = AudioLM.of(config)
    wanted = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    _compare(folder, wanted, {name: info.shape for name, info in checkpoint.tensors.items()})
    tensors = {name: checkpoint.tensor(name) for name in wanted}
    strange = [name for name, one in tensors.items() if not one.is_floating_point()]
    if strange:
        raise CheckpointError(f"{folder} has {strange[0]} in {tensors[strange[0]].dtype}; weights are floats")
    model.load_state_dict({name: one.to(device, dtype, copy=True) for name, one in tensors.items()}, assign=True)
    return model.eval()


def _compare(folder: Path, wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> None:
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing:
        raise CheckpointError(f"{folder} lacks {len(missing)} of {len(wanted)} tensors, {missing[0]} first")
    if extra:
        raise CheckpointError(f"{folder} has {len(extra)} tensors that its config has no place for, {extra[0]} first")
    for name, shape in wanted.items():
        if given[name] != shape:
            raise CheckpointError(f"{folder} has {name} as {given[name]}; by its config it is {shape}")


@dataclass(frozen=True)
class Report:
    """What came of a foreign checkpoint."""

    partly: tuple[str, ...]  # tables that lack the row of BOS, or have one too many
    left_out: tuple[str, ...]  # of the checkpoint, each with why
    missing: tuple[str, ...]  # of the model, which stay as they were
    zeroed: tuple[str, ...]  # of the model, which such checkpoints never have: they add nothing now


def load_valle(path: Path, model: AudioLM) -> Report:
    """Copies what fits by name and shape from a checkpoint of VALL-E or of its AudioLM.

    A part's embedding, which they don't have, becomes zero. All that such an AudioLM uses fits into
    `AudioLM(nhead=..., **valle_fields(path))`.

    Raises:
        CheckpointError: it can't be read, is of other codebooks than the model, or nothing of it fits.
    """
    state = read_valle(path)
    given, config = _codebooks(state, path), model.config
    if given != (config.num_quantizers, config.codebook_size):
        raise CheckpointError(
            f"{path} is of {given[0]} codebooks of {given[1]} codes; the model has {config.num_quantizers} "
            f"of {config.codebook_size}"
        )
    own = model.state_dict()
    loaded, partly, left_out = [], [], []
    for name, tensor in state.items():
        if name not in own:
            left_out.append(f"{name}: the model has no such tensor")
        elif tensor.shape == own[name].shape:
            own[name].copy_(tensor)
            loaded.append(name)
        elif name == "ar_audio_embedding.word_embeddings.weight" and tensor.shape[1] == own[name].shape[1]:
            rows = min(len(tensor), len(own[name]))
            own[name][:rows] = tensor[:rows]
            partly.append(name)
        else:
            left_out.append(f"{name}: is {tuple(tensor.shape)}, and in the model {tuple(own[name].shape)}")
    if not loaded:
        raise CheckpointError(f"{path} has no tensor that fits the model: give it the checkpoint's d_model")
    missing = [name for name in own if name not in {*loaded, *partly}]
    zeroed = [name for name in missing if name.endswith("part_embedding.weight")]
    for name in zeroed:
        own[name].zero_()
    return Report(tuple(partly), tuple(left_out), tuple(name for name in missing if name not in zeroed), tuple(zeroed))


def valle_fields(path: Path) -> dict[str, Any]:
    """The fields of the `AudioLM` that a checkpoint of VALL-E's AudioLM is of, all but nhead, which shapes don't tell.

    Raises:
        CheckpointError: it can't be read, or is no such checkpoint.
    """
    state = read_valle(path)
    codebooks, size = _codebooks(state, path)
    width = state["ar_predict_layer.weight"].shape[1]
    fields: dict[str, Any] = {
        "d_model": width,
        "num_layers": _count(state, "ar_decoder.layers."),
        "norm_first": "ar_decoder.norm.weight" in state,
        "add_prenet": "ar_audio_prenet.0.weight" in state,
        "num_quantizers": codebooks,
        "codebook_size": size,
        "prepend_bos": len(state["ar_audio_embedding.word_embeddings.weight"]) == size + 2,
        "positions": "sine",
        "predict_end": True,
        "share_embedding": False,
    }
    if codebooks > 1:
        fields["nar_scale_factor"] = state["nar_audio_embeddings.0.word_embeddings.weight"].shape[1] / width
        fields["nar_layers"] = _count(state, "nar_decoder.layers.")
    return fields


def read_valle(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint as VALL-E's trainer writes it: `{"model": {...}, ...}`; no code in it is run.

    Raises:
        CheckpointError: it is missing, damaged, of another kind, or would run code.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; check the path")
    try:
        with torch.serialization.safe_globals([pathlib.PosixPath, pathlib.WindowsPath]):  # of the trainer's options
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        code = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code is not None:
            raise CheckpointError(
                f"{path} can't be read, we would have to run code for it: {code[1]}; save its 'model' alone"
            ) from None
        raise CheckpointError(f"{path} is no checkpoint of torch, or is damaged: fetch it again") from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(one, Tensor) for one in state.values()):
        raise CheckpointError(f"{path} has no 'model' with a tensor for each name: it is none of VALL-E's trainer")
    return {name.removeprefix("module."): one for name, one in state.items()}


def _codebooks(state: Mapping[str, Tensor], path: Path) -> tuple[int, int]:
    """How many codebooks, and codes of each."""
    heads = ("ar_predict_layer.weight", "ar_audio_embedding.word_embeddings.weight")
    if any(name not in state or state[name].ndim != 2 for name in heads):
        raise CheckpointError(
            f"{path} has no ar_predict_layer and ar_audio_embedding: it is no AudioLM's, nor VALL-E's"
        )
    return max(_count(state, "nar_audio_embeddings."), 1), len(state[heads[0]]) - 1


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})
