"""The native backend: Auricle's own engine on a checkpoint folder."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from auricle.checkpoint import Checkpoint
from auricle.engine.device import choose_device, choose_dtype, use_threads
from auricle.engine.generate import stream
from auricle.engine.trace import Trace
from auricle.hub import ModelName, find
from auricle.layers import native
from auricle.layers.packing import read_packing
from auricle.models.family import open_family
from auricle.types import Chunk, Message, Sampling


class NativeBackend:
    """See `backends.Backend`."""

    def __init__(
        self, model: ModelName, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
    ) -> None:
        begun = time.perf_counter()
        chosen = choose_device(device)
        use_threads(threads)
        checkpoint = Checkpoint(find(model))
        self.family = open_family(checkpoint)
        self.family.load(chosen, choose_dtype(dtype, chosen, self.family.parameters()))
        self.notes = (*_notes(checkpoint, chosen, self.family.dtype), *self.family.notes)
        self.rate = self.family.rate
        self.max_clip_seconds = self.family.max_clip_seconds
        self.load_s = time.perf_counter() - begun

    def stream(
        self,
        messages: list[Message],
        sampling: Sampling,
        *,
        zero_audio: bool = False,
        trace: bool = False,
    ) -> Iterator[Chunk]:
        record = Trace() if trace else None
        return stream(self.family, messages, sampling, zero_audio=zero_audio, trace=record)


def _notes(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Iterator[str]:
    packing = read_packing(checkpoint.config, checkpoint.folder)
    if packing is None or device.type != "cpu" or native.takes(torch.empty(0, dtype=dtype)):
        return
    reason = native.missing() or f"they know no {str(dtype).removeprefix('torch.')}"
    yield (
        f"{checkpoint.folder} is packed in {packing.scheme} and the kernels can't run it here ({reason}): "
        "torch's own operators do, slower and in the memory of a dense model"
    )
