"""A checkpoint that is nowhere on disk: its tensors are drawn when they are asked for.

Each tensor has its own seed, from the checkpoint's and its name, so whoever asks in whatever order gets the same
numbers: the dense folder and every quantised one are the same model.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auricle.bench import presets, tokenizer
from auricle.checkpoint import Checkpoint, TensorInfo
from auricle.quant.policy import policy_of

PIECE = 8 << 20  # numbers drawn at a time
IN_MEMORY = 256 << 20  # bytes; a larger tensor is drawn into a file and mapped
STAMP = "random_weights.json"  # in every folder made from it
DRAWN_AS = 2  # counts up when the numbers of a seed, or what stands beside them, change
CLIP = 1e4  # the clipped linears' ranges: never met, but the work is done


class RandomCheckpoint(Checkpoint):
    """A preset as a `Checkpoint`, in bfloat16: weights normal with 0.02, norms one, clip ranges wide.

    Args:
        preset: one of `presets.PRESETS`.
        scratch: the folder for the file of a tensor that is too large for memory; None is the system's for such files.
    """

    def __init__(self, preset: str, scratch: Path | None = None, seed: int = 0) -> None:
        self.preset, self.seed, self._scratch = preset, seed, scratch
        self.folder = Path(f"random-{preset}")  # for messages: there is no such folder
        self.config = presets.config(preset)
        self.tensors = {
            name: TensorInfo(self.folder / "model.safetensors", "BF16", shape, 2 * torch.Size(shape).numel())
            for name, shape in _shapes(self.config).items()
        }

    def json(self, name: str) -> dict[str, Any]:
        return self.config if name == "config.json" else {}

    @property
    def stamp(self) -> dict[str, Any]:
        """What the numbers depend on: with it, a folder tells what it was made from."""
        return {"preset": self.preset, "seed": self.seed, "drawn_as": DRAWN_AS}

    def files(self) -> Iterator[tuple[str, bytes]]:
        """What stands in the folder beside config.json and the weights: each name with its content."""
        yield from tokenizer.files(self.config)
        yield STAMP, (json.dumps(self.stamp) + "\n").encode()

    def pieces(self, name: str) -> Iterator[Tensor]:
        """A tensor's numbers in order, flat, at most `PIECE` at a time."""
        count = torch.Size(self.tensors[name].shape).numel()
        for start in range(0, count, PIECE):
            yield self._drawn(name, start, min(PIECE, count - start)).bfloat16()

    def tensor(self, name: str) -> Tensor:
        """A tensor; one larger than `IN_MEMORY` is mapped from a file that goes when the tensor does."""
        info = self.tensors[name]
        if info.bytes <= IN_MEMORY:
            return torch.cat(list(self.pieces(name))).view(info.shape)
        with tempfile.NamedTemporaryFile(dir=self._scratch, prefix=".drawn-") as stream:
            for piece in self.pieces(name):
                stream.write(piece.view(torch.uint8).numpy().tobytes())
            stream.flush()
            # Once it is mapped the file needs no name: its space is free again when the tensor is.
            mapped = torch.from_file(stream.name, size=info.bytes // 2, dtype=torch.bfloat16)
        return mapped.view(info.shape)

    def _drawn(self, name: str, start: int, count: int) -> Tensor:
        if ("norm" in name and name.endswith("weight")) or name.endswith("layer_scalar"):
            return torch.ones(count)
        if name.endswith(("_min", "_max")):
            return torch.full((count,), CLIP if name.endswith("_max") else -CLIP)
        digest = hashlib.sha256(f"{self.seed} {name} {start}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        return torch.randn(count, generator=generator) * 0.02


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of the checkpoint, from a model without storage."""
    model = policy_of(config, "the preset").outline(config)
    return {model.checkpoint_name(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
