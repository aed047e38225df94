"""Gemma 4's decode step on CUDA: captured once as a graph, replayed for every token.

For one new position the processor takes longer to launch `decoder.py`'s many small operations than a card to run them.
A graph launches them all at once, but repeats the very same operations on the very same memory. Hence:

- Keys and values lie in slots, position p in slot p % slots: a sliding layer has as many as its cache keeps, a full one
  a capacity, 256 or a doubling of it. Where they go and which are seen comes from a position that is on the device.
- A capacity has its slots and its graph, made when a request first needs it, which takes as long as many steps, and
  kept for all requests to come.
- The slots hold one request. Its `Cache` moves in for its first step, and out again when another request steps, or
  when the cache is read from or into in any other way. So requests that take turns are right, each turn at the cost of
  copying two caches; requests of other capacities, and those that are dropped, stand in nobody's way.
- Embedding tables stay mapped on the CPU. Rows are looked up there and sent before a replay, and candidates of a head
  of few bits are rescored there after it.

Requests may come from several threads, all on the device's default stream. While one thread captures, the others may
launch and allocate, and wait for their stream; waiting for the whole device is what CUDA forbids then.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from auricle.layers.cache import SLACK
from auricle.models.gemma4.config import FULL, SLIDING
from auricle.models.gemma4.decoder import Cache, Decoder, KeysValues
from auricle.models.stretch import Stretch

CAPACITY = 256  # slots of a full layer, at first
WARM_UP = 3  # runs before a capture: libraries set themselves up, which a graph must not hold

_capturing = threading.Lock()  # one at a time in a process: pytorch.org/docs/stable/notes/cuda.html#cuda-graphs


class DecoderGraph:
    """Reads single tokens into the caches of requests, one step at a time; others wait."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._alone = threading.RLock()  # also of the slots, which a cache leaves by itself
        self._steps: dict[int, _Step] = {}  # by capacity
        if decoder.device.type == "cuda":
            # One stream and one pool for all captures: no two steps run at the same time.
            self._stream, self._pool = torch.cuda.Stream(decoder.device), torch.cuda.graph_pool_handle()

    @torch.inference_mode()
    def read(self, id: int, audio_token: int, cache: Cache) -> Tensor:
        """Takes one token up into the cache -> `(1, vocabulary)` logits; see `Family.read`."""
        ids = torch.tensor([[id]])
        row = self.decoder.embed(ids, audio_token_id=audio_token)
        own = self.decoder.own_inputs(ids, audio_token)
        with self._alone:
            step = self._step(cache.length + 1)
            if step.slots.owner() is not cache:
                cache.bring_home()  # from where the capacity was less
                step.slots.move_out()
                step.slots.move_in(cache)
            step.run(row, own, cache.length)
            cache.advance()
            return self.decoder.finished(step.scores.clone(), step.hidden)[0]

    def _step(self, positions: int) -> _Step:
        capacity = CAPACITY << ((positions - 1) // CAPACITY).bit_length()
        if capacity not in self._steps:
            step = _Step(self.decoder, capacity, self._alone)
            if self.decoder.device.type == "cuda":
                step.graph = self._captured(step)
            self._steps[capacity] = step
        return self._steps[capacity]

    def _captured(self, step: _Step) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with _capturing, torch.cuda.device(self.decoder.device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UP):
                    step.compute()
            torch.cuda.current_stream().wait_stream(self._stream)
            # "thread_local": another thread may allocate meanwhile.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                step.compute()
        return graph


class Slots:
    """Keys and values of one request at a time, in tensors that stay where they are: a `Past` for one new position."""

    def __init__(self, decoder: Decoder, capacity: int, alone: AbstractContextManager[Any]) -> None:
        config, self._like = decoder.config, torch.empty(0, dtype=decoder.dtype, device=decoder.device)
        self._alone = alone
        self.owner: Callable[[], Cache | None] = _nobody  # or a weak reference to the cache that has moved in
        self.position = torch.zeros(1, dtype=torch.long, device=decoder.device)
        self._sizes = {SLIDING: config.sliding_window - 1 + SLACK, FULL: capacity}
        self._seen = {SLIDING: config.sliding_window, FULL: capacity}  # positions, at most
        self._kinds = config.layer_types[: config.first_shared_layer]
        self.layers: list[KeysValues] = []
        for i, kind in enumerate(self._kinds):
            shape = (1, config.num_key_value_heads, self._sizes[kind], config.layer_head_dim(i))
            self.layers.append((self._like.new_zeros(shape), self._like.new_zeros(shape)))

    def move_in(self, cache: Cache) -> None:
        """Takes up what a cache holds, and what it reads from now on."""
        for layer, (keys, values), kind in zip(cache.layers, self.layers, self._kinds, strict=True):
            places = self._places_of(layer.length, min(layer.kept, self._sizes[kind]), kind)
            for slots, held in zip((keys, values), layer.recent(len(places)), strict=True):
                slots.zero_()  # a hidden slot counts zero times what it holds: that must be finite
                slots[:, :, places] = held
            layer.kept = len(places)
        self.owner, cache.away = weakref.ref(cache), self

    def move_out(self) -> None:
        """Gives the cache that is here, if there still is one, what it has read."""
        with self._alone, torch.inference_mode(False):  # whoever reads into them next may not be in that mode
            cache, self.owner = self.owner(), _nobody
            if cache is not None:
                cache.away = None
                for layer, (keys, values), kind in zip(cache.layers, self.layers, self._kinds, strict=True):
                    places = self._places_of(layer.length, min(layer.kept, self._sizes[kind]), kind)
                    layer.replace(keys[:, :, places], values[:, :, places], layer.length)

    def locate(self) -> None:
        """From the position, for each kind of layer: the slot that it takes, and a bias for those that it sees."""
        self._places, self._biases = {}, {}
        for kind, size in self._sizes.items():
            ago = (self.position - torch.arange(size, device=self.position.device)) % size
            hidden = ago > self.position.clamp(max=self._seen[kind] - 1)
            self._places[kind] = self.position % size
            self._biases[kind] = self._like.new_zeros(1, size).masked_fill(hidden, -torch.inf)

    def _places_of(self, length: int, count: int, kind: str) -> Tensor:
        """The slots of the last positions before `length`."""
        return torch.arange(length - count, length, device=self._like.device) % self._sizes[kind]

    def positions(self, count: int, device: torch.device) -> Tensor:
        return self.position

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        place, (held_keys, held_values) = self._places[self._kinds[layer]], self.layers[layer]
        return held_keys.index_copy_(2, place, keys), held_values.index_copy_(2, place, values)

    def bias(self, layer: int) -> Tensor:
        return self._biases[self._kinds[layer]]


class _Step:
    """The operations for one position, and the inputs, slots and outputs that they work on."""

    def __init__(self, decoder: Decoder, capacity: int, alone: AbstractContextManager[Any] | None = None) -> None:
        config, like = decoder.config, torch.empty(0, dtype=decoder.dtype, device=decoder.device)
        self.decoder, self.slots = decoder, Slots(decoder, capacity, alone or nullcontext())
        self.graph: torch.cuda.CUDAGraph | None = None  # None runs them one by one
        self.row = like.new_zeros(1, 1, config.hidden_size)
        self.own = like.new_zeros(1, 1, config.num_hidden_layers * config.hidden_size_per_layer_input)
        self.hidden = torch.zeros_like(self.row)
        self.scores = like.new_zeros(1, 1, config.vocab_size, dtype=torch.float32)

    def run(self, row: Tensor, own: Tensor | None, position: int) -> None:
        """From a token's embedding and `Decoder.own_inputs`, on the CPU, to `hidden` and `scores`."""
        _send(row, self.row)
        if own is not None:
            _send(own, self.own)
        self.slots.position.fill_(position)
        if self.graph is None:
            self.compute()
        else:
            self.graph.replay()

    def compute(self) -> None:
        self.slots.locate()
        per_layer = self.decoder.projected_inputs(self.own, self.row) if self.own.numel() else None
        self.hidden.copy_(self.decoder(self.row, per_layer, [Stretch(self.slots, 1, 1)]))
        self.scores.copy_(self.decoder.scores(self.hidden))


def _nobody() -> None:
    return None


def _send(row: Tensor, to: Tensor) -> None:
    """To the device, without waiting; pinned memory is used again only when what was sent has arrived."""
    to.copy_(row.pin_memory() if to.is_cuda else row, non_blocking=True)
