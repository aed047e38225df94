"""bfloat16 and float16: as near to float32 as transformers gets, and always finite.

A fixed bound would say little: rounding to 8 bits in every operation moves these logits by tenths, in the reference as
well. What is held to is that ours moves no farther. Both are measured against float32 with the same (already rounded)
weights, as the root mean square over all positions; 1.5 times the reference's own error leaves room for another order
of operations, and is far below what a wrongly rounded scale or a missing float32 island gives.
"""

from __future__ import annotations

import pytest
import torch

from auricle.models.family import read_one
from tests.checkpoints import make_checkpoint
from tests.parity.pair import Pair, error, load_pair
from tests.parity.sounds import KINDS, babble, noise, square

ROOM = 1.5
Half = tuple[Pair, Pair]  # in float32, in half precision: the same weights


@pytest.fixture(scope="session", params=["bfloat16", "float16"])
def halves(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Half]:
    folder = tmp_path_factory.mktemp(request.param)
    made = {
        family: make_checkpoint(folder / family, family=family, dtype=request.param, seed=5)
        for family in ("e2b", "e4b")
    }
    return {family: (load_pair(path), load_pair(path, request.param)) for family, path in made.items()}


@pytest.fixture(params=["e2b", "e4b"])
def half(request: pytest.FixtureRequest, halves: dict[str, Half]) -> Half:
    return halves[request.param]


def test_the_encoder_rounds_no_worse(half: Half) -> None:
    exact, rounded = half
    clips = [babble(100_000), noise(8_000)]
    expected = exact.reference_encoded(clips)
    ours, theirs = error(rounded.encoded(clips), expected), error(rounded.reference_encoded(clips), expected)
    assert theirs > 0
    assert ours <= ROOM * theirs


def test_the_logits_round_no_worse(half: Half) -> None:
    exact, rounded = half
    clips = [babble(100_000), noise(8_000)]
    ids = exact.prompt(clips)
    expected = exact.reference_logits(ids, clips)
    ours = error(rounded.logits(ids, clips), expected)
    theirs = error(rounded.reference_logits(ids, clips), expected)
    assert theirs > 0
    assert ours <= ROOM * theirs


def test_half_precision_is_what_runs(half: Half) -> None:
    _, rounded = half
    dtype = rounded.theirs.dtype
    encoded = rounded.encoded([noise(8_000)])
    assert encoded.dtype == rounded.ours.dtype == dtype
    assert {p.dtype for p in rounded.ours.model.parameters()} == {dtype}


@pytest.mark.parametrize("kind", KINDS)
def test_every_sound_stays_finite(half: Half, kind: str) -> None:
    _, rounded = half
    clips = [KINDS[kind](20_000), square(161)]
    assert rounded.encoded(clips).isfinite().all()
    assert rounded.logits(rounded.prompt(clips), clips).isfinite().all()


def test_a_cache_in_half_precision(half: Half) -> None:
    exact, rounded = half
    ids = exact.prompt([], "What does the speaker say? Which is louder? " * 3)
    expected = exact.reference_logits(ids)
    cache, past, theirs = rounded.ours.new_cache(), None, []
    with torch.inference_mode():
        ours = torch.cat([read_one(rounded.ours, [id], None, cache) for id in ids])
        for id in ids:
            out = rounded.theirs(input_ids=torch.tensor([[id]]), past_key_values=past, use_cache=True)
            past = out.past_key_values
            theirs.append(out.logits[0])
    assert error(ours, expected) <= ROOM * error(torch.cat(theirs), expected)
