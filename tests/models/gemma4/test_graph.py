"""The decode step in static shapes against the ordinary decoder; and, on a card, its capture as a CUDA graph.

Without a card a step's operations run one by one, which tests all but the capture: where keys and values lie, what is
seen of them, and whose they are. Layers of random weights magnify rounding, until two ways of computing the same differ
by 1e-4. So these checkpoints have post-norms of a twentieth of their size: each layer adds a small part, and a bound of
1e-5 holds, while a position too few in what is seen moves a logit by hundreds of times as much.
"""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from auricle.checkpoint import Checkpoint
from auricle.layers import cache as cache_module
from auricle.layers import native
from auricle.layers.cache import SLACK
from auricle.layers.packing import read_packing
from auricle.models.family import read_one
from auricle.models.gemma4 import graph as graph_module
from auricle.models.gemma4.config import Gemma4Config
from auricle.models.gemma4.decoder import Cache
from auricle.models.gemma4.family import Gemma4Family
from auricle.models.gemma4.graph import CAPACITY, DecoderGraph, _Step
from auricle.models.gemma4.model import outline
from auricle.quant.quantize import quantize
from tests.checkpoints import IDS, make_checkpoint

BOUND, CALM = 2e-5, 0.05  # the bound: ten last digits of the largest logit here, 22
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
KINDS = ("e2b", "e4b", "int4")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("graph")
    made = {kind: calm_checkpoint(parent / kind, family=kind) for kind in ("e2b", "e4b")}
    quantize(Checkpoint(made["e2b"]), "int4", parent / "int4")
    return {**made, "int4": parent / "int4"}


@pytest.fixture
def e2b(folders: dict[str, Path]) -> Path:
    return folders["e2b"]


@pytest.fixture(params=KINDS)
def family(request: pytest.FixtureRequest, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Gemma4Family:
    # The kernels round what they multiply to 8 bits: differences of 1e-7 would now and then become a whole step.
    monkeypatch.setattr(native, "missing", lambda: "switched off for this test")
    return loaded(folders[request.param])


def calm_checkpoint(folder: Path, **settings: Any) -> Path:
    path = make_checkpoint(folder, **settings) / "model.safetensors"
    tensors = load_file(path)
    for name in tensors:
        if "language_model" in name and ".post_" in name:
            tensors[name] = tensors[name] * CALM
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def loaded(folder: Path, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> Gemma4Family:
    """With the step in static shapes, also on a CPU."""
    family = Gemma4Family(Checkpoint(folder))
    family.load(device, dtype)
    family._graph = DecoderGraph(family.model.language_model)
    return family


def text(count: int, seed: int = 0) -> list[int]:
    return torch.randint(4, 290, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def ordinary(family: Gemma4Family, ids: list[int], cache: Cache) -> Tensor:
    """The decoder without the step: logits of the last position."""
    graph, family._graph = family._graph, None
    try:
        return read_one(family, ids, None, cache)
    finally:
        family._graph = graph


def apart(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a.double() - b.double()).abs().max())


@dataclass
class Request:
    """One request twice: with the step, and without."""

    family: Gemma4Family
    seed: int = 0
    cache: Cache = field(init=False)
    plain: Cache = field(init=False)

    def __post_init__(self) -> None:
        self.cache, self.plain = Cache(self.family.config.text), Cache(self.family.config.text)
        self._ids = text(2000, self.seed)

    @torch.inference_mode()
    def read(self, *counts: int) -> None:
        """Reads so many ids in each call, and compares what both say of the last."""
        for count in counts:
            ids = self._ids[self.cache.length :][:count]
            given = read_one(self.family, ids, None, self.cache)
            assert given.dtype == torch.float32
            assert apart(given, ordinary(self.family, ids, self.plain)) < BOUND, f"position {self.plain.length}"
            assert self.cache.length == self.plain.length


def steps(family: Gemma4Family) -> dict[int, _Step]:
    assert family._graph is not None
    return family._graph._steps


@pytest.mark.parametrize("prompt", [1, 2, 15, 16, 17, 24, 70])
def test_token_by_token_past_the_window(family: Gemma4Family, prompt: int) -> None:
    Request(family).read(prompt, *[1] * 40)
    assert list(steps(family)) == [CAPACITY]


def test_the_bound_would_notice_a_position(family: Gemma4Family) -> None:
    """What each position of the context is worth to the last one's logits, within the window and beyond it."""
    ids = text(30)
    with torch.inference_mode():
        whole = ordinary(family, ids, Cache(family.config.text))
        for missing in (0, 5, 20, 28):
            cache = Cache(family.config.text)
            ordinary(family, ids[:missing] + ids[missing + 1 :][:-1], cache)
            assert apart(ordinary(family, ids[-1:], cache), whole) > 100 * BOUND


def test_growing(family: Gemma4Family) -> None:
    request = Request(family)
    request.read(CAPACITY - 4, *[1] * 10)
    assert list(steps(family)) == [CAPACITY, 2 * CAPACITY]
    assert steps(family)[CAPACITY].slots.owner() is None  # free for others
    request.read(2 * CAPACITY, *[1] * 5)
    assert list(steps(family)) == [CAPACITY, 2 * CAPACITY, 4 * CAPACITY]


@pytest.mark.parametrize(("positions", "capacity"), [(1, 256), (256, 256), (257, 512), (513, 1024), (1025, 2048)])
def test_capacities(e2b: Path, positions: int, capacity: int) -> None:
    graph = DecoderGraph(loaded(e2b).model.language_model)
    assert graph._step(positions).slots.layers[2][0].shape == (1, 1, capacity, 32)
    assert graph._step(positions).slots.layers[0][0].shape == (1, 1, 15 + SLACK, 16)
    assert list(graph._steps) == [capacity]


def test_requests_one_after_the_other(family: Gemma4Family) -> None:
    """The later ones find what longer ones left, and no tensor moves: a graph would go on using the old."""
    Request(family, seed=1).read(200, *[1] * 10)
    before = places(steps(family)[CAPACITY])
    for seed, prompt in ((2, 3), (3, 30), (4, 1)):
        Request(family, seed).read(prompt, *[1] * 20)
    assert places(steps(family)[CAPACITY]) == before
    assert list(steps(family)) == [CAPACITY]


def places(step: _Step) -> list[int]:
    held = [step.row, step.own, step.hidden, step.scores, step.slots.position]
    return [tensor.data_ptr() for tensor in [*held, *(part for layer in step.slots.layers for part in layer)]]


def test_requests_that_take_turns(family: Gemma4Family) -> None:
    """Of one capacity and of two, tokens and stretches, and one that grows past another."""
    one, other, third = (Request(family, seed) for seed in (1, 2, 3))
    one.read(5, 1, 1)
    other.read(30, 1)
    third.read(250, 1)
    random = torch.Generator().manual_seed(0)
    for _ in range(60):
        request = (one, other, third)[int(torch.randint(3, (), generator=random))]
        request.read(*((1, 1, 1, 9)[: int(torch.randint(1, 5, (), generator=random))]))
    assert third.cache.length > CAPACITY
    assert list(steps(family)) == [CAPACITY, 2 * CAPACITY]


def test_going_on_from_a_fork(family: Gemma4Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds less than a sliding layer could: what it lacks must not come out of the slots as something read."""
    monkeypatch.setattr(cache_module, "SLACK", 40)
    monkeypatch.setattr(graph_module, "SLACK", 40)
    request = Request(family)
    request.read(200, *[1] * 20)
    request.cache, request.plain = request.cache.fork(190), request.plain.fork(190)
    shortest = request.cache.shortest
    request.read(1, 1)
    assert request.cache.shortest >= shortest
    assert request.cache.nbytes > 0
    request.cache, request.plain = (each.fork(request.cache.shortest) for each in (request.cache, request.plain))
    request.read(*[1] * 30)


def test_a_turn_of_another_leaves_logits_alone(e2b: Path) -> None:
    family = loaded(e2b)
    one, other = Cache(family.config.text), Cache(family.config.text)
    with torch.inference_mode():
        read_one(family, text(5), None, one)
        read_one(family, text(9), None, other)
        logits = read_one(family, [7], None, one)
        kept = logits.clone()
        read_one(family, [8], None, other)
    assert torch.equal(logits, kept)


def test_a_request_that_was_dropped_is_not_copied(e2b: Path) -> None:
    family = loaded(e2b)
    request = Request(family)
    request.read(5, 1)
    owner = steps(family)[CAPACITY].slots.owner
    assert owner() is request.cache
    del request
    gc.collect()
    assert owner() is None


def test_what_is_no_number_stays_with_its_request(e2b: Path) -> None:
    family = loaded(e2b)
    Request(family).read(200, 1)
    with torch.inference_mode():
        for layer in steps(family)[CAPACITY].slots.layers:
            for part in layer:
                part.fill_(torch.nan)
    Request(family, seed=1).read(3, 1, 1)


def test_in_and_out_of_inference_mode(e2b: Path) -> None:
    """A cache may be read into in that mode or not, whoever has stepped meanwhile."""
    family = loaded(e2b)
    outside, inside = Cache(family.config.text), Request(family, seed=1)
    ids = text(40)
    logits = [read_one(family, ids[:9], None, outside), read_one(family, ids[9:10], None, outside)]
    inside.read(5, 1)
    logits += [read_one(family, ids[10:11], None, outside), read_one(family, ids[11:39], None, outside)]
    logits += [read_one(family, ids[39:], None, outside)]
    plain = Cache(family.config.text)
    for given, part in zip(logits, (ids[:9], ids[9:10], ids[10:11], ids[11:39], ids[39:]), strict=True):
        assert apart(given, ordinary(family, part, plain)) < BOUND


def test_the_first_token_and_audio_are_not_stepped(e2b: Path) -> None:
    family = loaded(e2b)
    cache, audio = Cache(family.config.text), torch.randn(1, family.config.text.hidden_size)
    with torch.inference_mode():
        read_one(family, [2], None, cache)
        assert not steps(family)
        read_one(family, [IDS["<|audio|>"]], audio, cache)
        assert not steps(family)
        given = read_one(family, [9], None, cache)
        plain = Cache(family.config.text)
        family._graph = None
        read_one(family, [2, IDS["<|audio|>"]], audio, plain)
        assert apart(given, read_one(family, [9], None, plain)) < BOUND


def test_a_placeholder_without_audio_is_the_pad_token(e2b: Path) -> None:
    family = loaded(e2b)
    one, other = Cache(family.config.text), Cache(family.config.text)
    with torch.inference_mode():
        read_one(family, [2, 9], None, one)
        read_one(family, [2, 9], None, other)
        placeholder = [IDS["<|audio|>"]]
        assert apart(read_one(family, placeholder, None, one), ordinary(family, placeholder, other)) < BOUND


def test_without_per_layer_inputs_or_a_cap(tmp_path: Path) -> None:
    settings = {"hidden_size_per_layer_input": 0, "final_logit_softcapping": None}
    Request(loaded(calm_checkpoint(tmp_path, **settings))).read(10, *[1] * 20)


def test_threads(e2b: Path) -> None:
    """Requests in several threads get what each would get alone."""
    family = loaded(e2b)
    expected = [answer(family, seed) for seed in range(3)]
    found: dict[int, list[int]] = {}
    threads = [threading.Thread(target=lambda s=s: found.update({s: answer(family, s)})) for s in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(3)] == expected


@torch.inference_mode()
def answer(family: Gemma4Family, seed: int, tokens: int = 40) -> list[int]:
    cache = Cache(family.config.text)
    logits = read_one(family, text(20, seed), None, cache)
    sampled = [int(logits.argmax())]
    while len(sampled) < tokens:
        logits = read_one(family, sampled[-1:], None, cache)
        sampled.append(int(logits.argmax()))
    return sampled


class Operations(TorchDispatchMode):
    """Names of what runs, and devices of all tensors that go in or come out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.devices: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.names.add(str(function))
        self.devices |= {leaf.device.type for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)}
        return result


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_never_leaves_its_device(folders: dict[str, Path], kind: str) -> None:
    """No capture takes tensors of the CPU, or numbers that the processor waits for: "meta" has none to wait for."""
    checkpoint = Checkpoint(folders[kind])
    decoder = outline(
        Gemma4Config.from_dict(checkpoint.config), read_packing(checkpoint.config, checkpoint.folder)
    ).language_model
    with torch.inference_mode():
        step = _Step(decoder, CAPACITY)
        step.compute()  # makes what is made once, as a warm-up does
        with Operations() as seen:
            step.compute()
    assert seen.devices == {"meta"}
    assert {"aten.index_copy_.default", "aten.scaled_dot_product_attention.default"} <= seen.names
    assert ("aten.__rshift__.Scalar" in seen.names) == (kind == "int4")  # unpacked on the device


# --- on a card


CASES = [("e2b", torch.float32), ("e2b", torch.bfloat16), ("e4b", torch.bfloat16), ("int4", torch.bfloat16)]


@torch.inference_mode()
def forced(family: Gemma4Family, ids: list[int], *, stepped: bool) -> Tensor:
    """`(tokens, vocabulary)` of ids read one by one after the first 30, nobody waiting for a token's logits."""
    cache = Cache(family.config.text)

    def read(part: list[int]) -> Tensor:
        return read_one(family, part, None, cache) if stepped else ordinary(family, part, cache)

    read(ids[:30])
    return torch.cat([read([id]) for id in ids[30:]]).cpu()


def error(a: Tensor, exact: Tensor) -> float:
    return float((a.double() - exact.double()).square().mean().sqrt())


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_a_captured_step_gives_the_numbers_of_its_operations(
    folders: dict[str, Path], kind: str, dtype: torch.dtype
) -> None:
    family, ids = loaded(folders[kind], CUDA, dtype), text(300)
    replayed = forced(family, ids, stepped=True)
    assert list(steps(family)) == [CAPACITY, 2 * CAPACITY]
    assert all(step.graph is not None for step in steps(family).values())
    for step in steps(family).values():
        step.graph = None
    one_by_one = forced(family, ids, stepped=True)
    # A library may add up in another order where it is captured.
    assert error(replayed, one_by_one) < {torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype] * float(one_by_one.std())


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_a_captured_step_is_as_exact_as_the_ordinary_decoder(
    folders: dict[str, Path], kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "missing", lambda: "switched off for this test")
    ids = text(300)
    exact = forced(loaded(folders[kind]), ids, stepped=False)
    family = loaded(folders[kind], CUDA, dtype)
    plain, replayed = forced(family, ids, stepped=False), forced(family, ids, stepped=True)
    assert error(replayed, exact) < 1.2 * error(plain, exact) + 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["e2b", "int4"])
def test_captured_requests_that_take_turns(folders: dict[str, Path], kind: str) -> None:
    family = loaded(folders[kind], CUDA)
    alone = [answer(family, seed) for seed in range(3)]
    caches = [Cache(family.config.text) for _ in alone]
    with torch.inference_mode():
        for seed, cache in enumerate(caches):
            read_one(family, text(20, seed), None, cache)
        for i in range(39):
            logits = [read_one(family, [alone[seed][i]], None, cache) for seed, cache in enumerate(caches)]
            assert [int(row.argmax()) for row in logits] == [sampled[i + 1] for sampled in alone]


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "dtype"), [("e2b", torch.bfloat16), ("int4", torch.bfloat16)])
def test_replaying_is_faster(folders: dict[str, Path], kind: str, dtype: torch.dtype) -> None:
    family, ids = loaded(folders[kind], CUDA, dtype), text(200)

    def seconds(stepped: bool) -> float:
        begun = time.perf_counter()
        forced(family, ids, stepped=stepped)
        return time.perf_counter() - begun

    seconds(True), seconds(False)  # captures, and what else is done once
    assert min(seconds(True) for _ in range(3)) < min(seconds(False) for _ in range(3))


@pytest.mark.gpu
def test_the_family_captures_by_itself(e2b: Path) -> None:
    family = Gemma4Family(Checkpoint(e2b))
    family.load(CUDA, torch.float32)
    assert family._graph is not None
    assert answer(family, 0) == answer(loaded(e2b), 0)


def test_elsewhere_nothing_is_captured(e2b: Path) -> None:
    family = Gemma4Family(Checkpoint(e2b))
    family.load(CPU, torch.float32)
    assert family._graph is None
