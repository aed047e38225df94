"""The native program against the modules in PyTorch, which parity tests compare with the reference.

Both multiply the same packed weights by activations in int8, the modules layer by layer: what differs is rounding,
which a quantised activation near a border can turn into a whole step.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.layers import native
from auricle.models import program as program_module
from auricle.models.family import Part, open_family
from auricle.models.program import ProgramCache
from auricle.models.qwen2_audio.family import Qwen2AudioFamily
from auricle.quant.quantize import quantize
from tests.parity.sounds import babble, noise
from tests.qwen2_audio import make_qwen2_audio

pytestmark = pytest.mark.skipif(native.missing() is not None, reason="the native kernels are not here")
CPU = torch.device("cpu")
KINDS = {"each head its own": {}, "grouped": {"num_key_value_heads": 2}}


@pytest.fixture(scope="module", params=[f"{kind}, {scheme}" for kind in KINDS for scheme in ("int4", "int8")])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qwen2AudioFamily]:
    """Reads 5 positions at a time, with the logits of 3."""
    kind, _, scheme = request.param.rpartition(", ")
    folder = tmp_path_factory.mktemp("packed")
    dense = make_qwen2_audio(folder / "dense", seed=4, **KINDS[kind])
    quantize(Checkpoint(dense), scheme, folder / scheme)
    family = open_family(Checkpoint(folder / scheme))
    assert isinstance(family, Qwen2AudioFamily)
    family.load(CPU, torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_module, "ROWS", 5)
        patch.setattr(program_module, "WANTED", 3)
        yield family


def prompt(family: Qwen2AudioFamily, samples: int, seed: int = 0) -> tuple[list[int], Tensor]:
    """Words, the tokens of a clip, more words."""
    audio = family.encode(family.features(babble(samples, seed=seed)))
    words = [int(id) for id in np.random.default_rng(seed).integers(0, 255, 12)]
    return words[:4] + [family.placeholder] * len(audio) + words[4:], audio


@torch.inference_mode()
def read(family: Qwen2AudioFamily, ids: list[int], audio: Tensor | None, *, modules: bool, wanted: int) -> Tensor:
    return family.read([Part(family.new_cache(observed=modules), ids, audio, wanted)])[0]


def agree(given: Tensor, expected: Tensor) -> None:
    apart = (given - expected).abs().amax(-1)
    assert given.shape == expected.shape
    assert float(apart.quantile(0.7)) < 1e-3, apart
    assert bool((apart < 0.1 * expected.std()).all()), apart


@torch.inference_mode()
def test_every_position_of_a_prompt(packed: Qwen2AudioFamily) -> None:
    assert isinstance(packed.new_cache(), ProgramCache)
    ids, audio = prompt(packed, 9_999)
    ours = read(packed, ids, audio, modules=False, wanted=len(ids))
    agree(ours, read(packed, ids, audio, modules=True, wanted=len(ids)))
    assert float(ours.std()) > 0.3


@torch.inference_mode()
def test_the_last_position_alone_is_the_last_of_all(packed: Qwen2AudioFamily) -> None:
    ids, audio = prompt(packed, 9_999)
    last = read(packed, ids, audio, modules=False, wanted=1)
    agree(last, read(packed, ids, audio, modules=True, wanted=len(ids))[-1:])


@torch.inference_mode()
def test_requests_in_one_pass_get_what_each_gets_alone(packed: Qwen2AudioFamily) -> None:
    prompts = [prompt(packed, samples, seed) for seed, samples in enumerate((3_000, 321, 12_000))]
    parts = [Part(packed.new_cache(), ids, audio, 2) for ids, audio in prompts]
    for given, (ids, audio) in zip(packed.read(parts), prompts, strict=True):
        agree(given, read(packed, ids, audio, modules=True, wanted=2))


@torch.inference_mode()
def test_token_by_token_on_a_cache_that_is_cut_back_and_forked(packed: Qwen2AudioFamily) -> None:
    ids, audio = prompt(packed, 5_000)
    expected = read(packed, ids, audio, modules=True, wanted=len(ids))
    cache = packed.new_cache()
    first = len(ids) - 8
    packed.read([Part(cache, ids[:first], audio, 0)])
    packed.read([Part(cache, ids[:3], None, 1)])  # another's words, taken back
    cache.truncate(first)
    fork = cache.fork(first)
    for place in range(first, len(ids)):
        for one in (cache, fork):
            (given,) = packed.read([Part(one, [ids[place]])])
            agree(given, expected[place : place + 1])


@torch.inference_mode()
def test_a_placeholder_without_sound_is_a_token_like_others(packed: Qwen2AudioFamily) -> None:
    ids = [1, packed.placeholder, 2]
    ours = read(packed, ids, None, modules=False, wanted=3)
    agree(ours, read(packed, ids, None, modules=True, wanted=3))


def test_packed_as_the_policy_says(packed: Qwen2AudioFamily) -> None:
    layer = packed.model.language_model.model.layers[0]
    scheme = packed.packing.scheme if packed.packing else ""
    assert layer.mlp.down_proj.bits == layer.self_attn.q_proj.bits == {"int4": 4, "int8": 8}[scheme]
    assert packed.model.language_model.lm_head.bits == 8
    assert packed.model.audio_tower.layers[0].fc1.bits == 8
    assert packed.notes == ()


@torch.inference_mode()
def test_the_packed_encoder_is_near_the_dense_one(packed: Qwen2AudioFamily, tmp_path: Path) -> None:
    kind = {} if packed.config.text.num_key_value_heads == 4 else {"num_key_value_heads": 2}
    dense = open_family(Checkpoint(make_qwen2_audio(tmp_path, seed=4, **kind)))
    dense.load(CPU, torch.float32)
    mel = dense.features(noise(40_000))
    exact = dense.encode(mel)
    assert float((packed.encode(mel) - exact).norm() / exact.norm()) < 0.05
