"""The recorded program against the torch decoder with the same packed weights.

Both round a linear's input to 8 bits, and what they round differs by 1e-7: a number halfway between two integers may
go up in one and down in the other. Random layers pass such a step on to all that follows, many times as large. So in
these checkpoints post-norms have a thousandth of their size: what a layer adds is small, and a step in it even more so.
Nearly all positions then agree to 1e-4, while what comes before a position changes its logits by 4e-2 and more. The
others are those where the head's own input met such a step, or where another token was among those scored again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.layers import cache as cache_module
from auricle.layers import native
from auricle.models import program as program_module
from auricle.models.family import Part
from auricle.models.gemma4.decoder import Cache, Decoder
from auricle.models.gemma4.family import Gemma4Family
from auricle.models.gemma4.program import decoder_program, missing, program_cache
from auricle.models.program import DecoderProgram, ProgramCache
from auricle.models.stretch import Stretch
from auricle.quant.quantize import quantize
from tests.checkpoints import IDS, make_checkpoint

PLACE = IDS["<|audio|>"]
PIECE = 8  # positions that are read at a time here
CALM = 1e-3

pytestmark = pytest.mark.skipif(native.missing() is not None, reason="no kernels here")


def calm_checkpoint(folder: Path, **settings: Any) -> Checkpoint:
    path = make_checkpoint(folder, dtype="bfloat16", **settings) / "model.safetensors"
    tensors = load_file(path)
    for name in tensors:
        if "language_model" in name and "norm" in name and ".post_" in name:
            tensors[name] *= CALM
    save_file(tensors, path, metadata={"format": "pt"})
    return Checkpoint(folder)


def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    family = Gemma4Family(Checkpoint(folder))
    family.load(torch.device("cpu"), dtype)
    return family.model.language_model


def text(count: int, seed: int = 0) -> list[int]:
    return torch.randint(4, 290, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@dataclass
class Pair:
    """One packed decoder twice, each with a request of its own."""

    decoder: Decoder
    program: DecoderProgram

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.cache, self.program_cache = Cache(self.decoder.config), program_cache(self.decoder)

    def audio(self, count: int, seed: int = 1) -> Tensor:
        return torch.randn(count, self.decoder.config.hidden_size, generator=torch.Generator().manual_seed(seed))

    def torch(self, ids: list[int], audio: Tensor | None = None) -> Tensor:
        """Logits of all positions, from the torch decoder: `(tokens, vocabulary)`."""
        return read(self.decoder, self.cache, ids, audio)

    def ours(self, ids: list[int], audio: Tensor | None = None, *, last_only: bool = False) -> Tensor:
        part = Part(self.program_cache, ids, audio, 1 if last_only else len(ids))
        return self.program.read([part])[0]


@torch.inference_mode()
def read(decoder: Decoder, cache: Cache, ids: list[int], audio: Tensor | None = None) -> Tensor:
    batch = torch.tensor([ids])
    x = decoder.embed(batch, audio, PLACE)
    stretch = Stretch(cache, len(ids), len(ids))
    return decoder.logits(decoder(x, decoder.per_layer_inputs(batch, x, PLACE), [stretch])[0])


def agree(given: Tensor, expected: Tensor) -> None:
    """See this file's head. What is not a number agrees with nothing."""
    assert given.shape == expected.shape
    apart = (given - expected).abs().amax(-1)
    assert float(apart.quantile(0.8)) < 1e-4, apart
    assert bool((apart < 0.5).all()), apart


KINDS: dict[str, dict[str, Any]] = {
    "e2b": {"family": "e2b"},
    "e4b": {"family": "e4b"},
    "nothing special": {
        "family": "e2b",
        "hidden_size_per_layer_input": 0,
        "num_kv_shared_layers": 0,
        "final_logit_softcapping": None,
    },
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packed checkpoints by kind and scheme."""
    made = {}
    for kind, settings in KINDS.items():
        folder = tmp_path_factory.mktemp("packed")
        dense = calm_checkpoint(folder / "dense", **settings)
        for scheme in ("int4", "int8"):
            made[f"{kind}, {scheme}"] = quantize(dense, scheme, folder / scheme).folder
    return made


@pytest.fixture(scope="module")
def small_pieces() -> Iterator[None]:
    """So that prompts come in many of them, and rings are gone round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_module, "ROWS", PIECE)
        patch.setattr(program_module, "WANTED", 3)
        patch.setattr(cache_module, "SLACK", PIECE)
        yield


@pytest.fixture(scope="module", params=[f"{kind}, {scheme}" for kind in KINDS for scheme in ("int4", "int8")])
def shared(request: pytest.FixtureRequest, folders: dict[str, Path], small_pieces: None) -> Pair:
    decoder = loaded(folders[request.param])
    assert missing(decoder) is None
    return Pair(decoder, decoder_program(decoder, PLACE))


@pytest.fixture
def pair(shared: Pair) -> Pair:
    shared.start()
    return shared


# --- prompts


def test_every_position_of_a_prompt_with_audio(pair: Pair) -> None:
    """Audio in one piece of the prompt, and over several; the rings of windows are gone round three times."""
    ids = [2, *text(4), *[PLACE] * 2, *text(6), *[PLACE] * 21, *text(70, seed=1)]
    agree(pair.ours(ids, pair.audio(23)), pair.torch(ids, pair.audio(23)))
    assert pair.program_cache.length == pair.cache.length == len(ids)
    window = pair.decoder.config.sliding_window
    assert min(layer.capacity for layer in pair.program_cache.layers) < window + PIECE + 15 < len(ids)


def test_the_last_position_of_prompts_of_any_length(pair: Pair) -> None:
    ids, audio = [2, *[PLACE] * 5, *text(60)], pair.audio(5)
    expected, given = pair.torch(ids, audio), []
    lengths = [6, 7, PIECE, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1, 31, 50, 65, 66]
    for length in lengths:
        pair.start()
        given.append(pair.ours(ids[:length], audio, last_only=True)[0])
    agree(torch.stack(given), expected[[length - 1 for length in lengths]])


def test_audio_counts_where_it_stands(pair: Pair) -> None:
    """Guards the bound: other audio, or the same in another order, changes the logits by far more."""
    ids, audio = [2, *[PLACE] * 5, *text(3)], pair.audio(5)
    first = pair.ours(ids, audio)[-1]
    for other in (pair.audio(5, seed=2), audio.flip(0)):
        pair.start()
        assert float((pair.ours(ids, other)[-1] - first).abs().max()) > 5e-3


# --- steps and turns


def test_steps_past_the_window(pair: Pair) -> None:
    prompt, steps = [2, *text(9)], text(60, seed=2)
    expected = pair.torch(prompt + steps)[len(prompt) - 1 :]
    given = [pair.ours(prompt, last_only=True)]
    given += [pair.ours([step], last_only=True) for step in steps]
    agree(torch.cat(given), expected)


def test_turns_of_every_length_on_one_cache(pair: Pair) -> None:
    """Prompts after steps, longer and shorter than a piece and than the window, with audio and without."""
    turns = [30, 1, 1, 5, 1, 40, 1, 8, 9, 1]
    given, expected = [], []
    for seed, count in enumerate(turns):
        ids, audio = text(count, seed), None
        if count == 40:
            ids[10:13], audio = [PLACE] * 3, pair.audio(3)
        expected.append(pair.torch(ids, audio)[-1])
        given.append(pair.ours(ids, audio, last_only=True)[0])
    agree(torch.stack(given), torch.stack(expected))


def test_all_positions_and_the_last_on_one_cache(pair: Pair) -> None:
    """Scoring and answering may take turns: both have the same keys and values."""
    given = torch.cat([pair.ours(text(20)), pair.ours(text(3, 1), last_only=True), pair.ours(text(20, 2))])
    expected = torch.cat([pair.torch(text(20)), pair.torch(text(3, 1))[-1:], pair.torch(text(20, 2))])
    agree(given, expected)


def test_requests_take_turns(pair: Pair) -> None:
    """Two requests of one program, a piece of each at a time."""
    texts = [text(50, seed=5), text(50, seed=6)]
    expected, caches = [], [program_cache(pair.decoder) for _ in texts]
    for ids in texts:
        pair.start()
        expected.append(pair.torch(ids))
    given: list[list[Tensor]] = [[], []]
    for at in range(0, 50, 10):
        for one in (0, 1):
            pair.program_cache = caches[one]
            given[one].append(pair.ours(texts[one][at : at + 10]))
    for one in (0, 1):
        agree(torch.cat(given[one]), expected[one])


def test_forks_and_what_is_taken_back(pair: Pair) -> None:
    """Over the border of the ring, also after a pass that was broken off before it was counted."""
    ids = text(60, seed=9)
    expected = pair.torch(ids)
    pair.ours(ids[:40])
    fork = pair.program_cache.fork(pair.program_cache.shortest)
    pair.program_cache.truncate(36)
    given = torch.cat([pair.ours(ids[36:50]), pair.ours(ids[50:])])
    agree(given, expected[36:])
    pair.program_cache, at = fork, fork.length
    agree(pair.ours(ids[at:]), expected[at:])


def test_a_pass_that_was_broken_off(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = text(60, seed=9)
    pair.ours(ids[:40])
    before = pair.program_cache.shortest
    with monkeypatch.context() as broken:
        broken.setattr(ProgramCache, "advance", lambda *_: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception):
            pair.ours(ids[40 : 40 + PIECE], last_only=True)
    assert pair.program_cache.length == 40
    assert pair.program_cache.shortest == before + PIECE


# --- what else it promises


def test_logits_are_the_callers_own(pair: Pair) -> None:
    first = pair.ours([5], last_only=True)
    kept = first.clone()
    assert not torch.equal(pair.ours([6], last_only=True), kept)
    assert torch.equal(first, kept)


def test_the_same_request_gives_the_same_bits(pair: Pair) -> None:
    ids = text(40)
    first = pair.ours(ids, last_only=True)
    pair.ours(text(30, seed=1))
    pair.start()
    assert torch.equal(pair.ours(ids, last_only=True), first)


def test_what_is_no_number_is_not_answered(pair: Pair) -> None:
    audio = pair.audio(5)
    audio[2, 7] = torch.nan
    assert bool(pair.ours([2, *[PLACE] * 5, *text(30)], audio, last_only=True).isnan().all())


def test_audio_tokens_without_sound(pair: Pair) -> None:
    """A model may sample one: it is a pad token then."""
    pair.ours(text(20), last_only=True)  # leaves something behind
    pair.start()
    ids = [2, PLACE, *text(30), PLACE]
    agree(pair.ours(ids), pair.torch(ids))


def test_in_inference_mode_and_outside(folders: dict[str, Path], small_pieces: None) -> None:
    decoder = loaded(folders["e2b, int4"])
    with torch.inference_mode():
        pair = Pair(decoder, decoder_program(decoder, PLACE))
        pair.ours([2, PLACE], pair.audio(1), last_only=True)
    with torch.no_grad():
        pair.ours([PLACE, 5], pair.audio(1), last_only=True)


@pytest.mark.parametrize("threads", [2, 3])
def test_more_threads(pair: Pair, threads: int) -> None:
    before, ids = torch.get_num_threads(), text(45)
    torch.set_num_threads(threads)
    try:
        given = [pair.ours(ids[:40]), *[pair.ours([id], last_only=True) for id in ids[40:]]]
        assert import_module(native.MODULE).threads() == threads
    finally:
        torch.set_num_threads(before)
    agree(torch.cat(given), pair.torch(ids))


@pytest.mark.parametrize("name", ["e2b, int4", "e4b, int8"])
def test_pieces_of_the_size_that_is_used(folders: dict[str, Path], name: str) -> None:
    decoder = loaded(folders[name])
    pair = Pair(decoder, decoder_program(decoder, PLACE))
    ids = text(90)
    agree(pair.ours(ids), pair.torch(ids))
    pair.start()
    expected = pair.torch(text(700))[-1:]
    given = pair.ours(text(700), last_only=True)  # more than one piece of the program as it is
    assert float((given - expected).abs().median()) < 1e-4


@pytest.mark.parametrize("name", ["e2b, int4", "e4b, int8"])
def test_with_keys_and_values_in_bfloat16(folders: dict[str, Path], name: str, small_pieces: None) -> None:
    """All else is float32: so it is nearer to the decoder in float32 than the one in bfloat16 is."""
    exact, rough = loaded(folders[name]), loaded(folders[name], torch.bfloat16)
    ids = [*text(20), *[PLACE] * 10, *text(50, seed=1)]
    pair = Pair(rough, decoder_program(rough, PLACE))
    audio = pair.audio(10)
    expected = read(exact, Cache(exact.config), ids, audio)
    prompt, steps = pair.ours(ids[:60], audio), [pair.ours([id], last_only=True) for id in ids[60:]]

    def apart(given: Tensor) -> float:
        return float((given - expected).norm() / expected.norm())

    assert apart(torch.cat([prompt, *steps])) < min(3e-3, apart(pair.torch(ids, audio)) / 3)


# --- when there is none


def test_what_stands_against_it(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    packed = folders["e2b, int4"]
    assert missing(loaded(packed.parent / "dense")) == "not all weights are packed"
    assert missing(loaded(packed, torch.float16)) == "activations are float16"
    decoder = loaded(packed)
    monkeypatch.setattr(native, "missing", lambda: "switched off")
    assert missing(decoder) == "switched off"


def test_a_packed_decoder_on_another_device(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables stay on the CPU, wherever it computes."""
    monkeypatch.setattr(native, "missing", lambda: None)
    decoder = loaded(folders["e2b, int4"])
    for part in (decoder.layers, decoder.norm):
        part.to("meta")
    assert next(decoder.buffers()).device.type == "cpu"
    assert missing(decoder) == "it is not on a CPU"
