"""The streaming encoder gives what the whole clip gives, whatever the pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from auricle.checkpoint import Checkpoint
from auricle.models.family import open_family
from auricle.models.gemma4.family import Gemma4Family
from tests.checkpoints import make_checkpoint
from tests.parity.sounds import babble, noise

BOUND = 1e-4
TOKEN = 640  # samples


@pytest.fixture(scope="module", params=["e2b", "e4b", "silence after it"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gemma4Family:
    folder = make_checkpoint(tmp_path_factory.mktemp("ear"), family=request.param[:3].replace("sil", "e2b"))
    if request.param == "silence after it":
        (folder / "preprocessor_config.json").write_text('{"trailing_silence_s": 0.3}')
    opened = open_family(Checkpoint(folder))
    assert isinstance(opened, Gemma4Family)
    opened.load(torch.device("cpu"), torch.float32)
    return opened


def heard(family: Gemma4Family, pieces: list[NDArray[np.float32]]) -> torch.Tensor:
    ear = family.ear()
    assert ear is not None
    tokens = []
    for i, piece in enumerate(pieces):
        tokens.append(ear.hear(piece, last=i == len(pieces) - 1))
    assert ear.samples == sum(map(len, pieces))
    assert ear.tokens == sum(map(len, tokens))
    return torch.cat(tokens)


def check(family: Gemma4Family, clip: NDArray[np.float32], cuts: list[int]) -> None:
    whole = family.encode(family.features(clip))
    pieces = np.split(clip, cuts)
    found = heard(family, pieces)
    assert found.shape == whole.shape
    assert float((found - whole).abs().max()) <= BOUND


@pytest.mark.parametrize("seed", range(12))
def test_random_pieces(family: Gemma4Family, seed: int) -> None:
    """From one sample to the whole clip: sizes are drawn evenly over their order of magnitude."""
    random = np.random.default_rng(seed)
    clip = babble(int(random.integers(161, 480_001)))
    cuts, at = [], 0
    while at < len(clip):
        at += int(np.exp(random.uniform(0, np.log(480_000))))
        cuts.append(min(at, len(clip)))
    check(family, clip, cuts)


def test_one_sample_at_a_time(family: Gemma4Family) -> None:
    clip = noise(2500, seed=3)
    check(family, clip, list(range(1, len(clip))))


@pytest.mark.parametrize("frames", range(1, 30))
def test_every_count_of_frames(family: Gemma4Family, frames: int) -> None:
    """Each way in which a clip's end meets tokens and attention chunks, cut where it costs the most."""
    clip = noise(161 + 160 * (frames - 1) + frames % 7, seed=frames)
    check(family, clip, sorted({min(len(clip), cut) for cut in (160, 161, TOKEN, TOKEN + 1, 5 * TOKEN)}))


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 7, 159, 160, 161, 640, 8000, 100_000])
def test_every_residue_of_a_length(family: Gemma4Family, step: int) -> None:
    for samples in range(9_000, 9_640, 1 if step > 100 else 80):
        clip = noise(samples, seed=samples)
        check(family, clip, list(range(step, samples, step)))


def test_a_token_comes_with_the_sample_that_makes_it_final(family: Gemma4Family) -> None:
    clip, ear = noise(10 * TOKEN, seed=1), family.ear()
    assert ear is not None
    ear.hear(clip[:TOKEN])
    assert ear.tokens == 0
    ear.hear(clip[TOKEN : TOKEN + 1])
    assert ear.tokens == 1
    ear.hear(clip[TOKEN + 1 : 5 * TOKEN + 1])
    assert ear.tokens == 5


def test_nothing_heard_is_no_tokens(family: Gemma4Family) -> None:
    ear = family.ear()
    assert ear is not None
    assert ear.hear(np.empty(0, np.float32)).shape == (0, family.config.text.hidden_size)


def _numbers(value: object) -> int:
    """How many numbers something holds, tensors and arrays by the storage that they keep alive."""
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes() // value.itemsize
    if isinstance(value, np.ndarray):
        return value.size if value.base is None else value.base.size
    if isinstance(value, list | tuple):
        return sum(map(_numbers, value))
    return sum(map(_numbers, vars(value).values())) if hasattr(value, "__dict__") else 0


def test_what_is_remembered_stays_the_same(family: Gemma4Family) -> None:
    ear, sizes = family.ear(), set()
    assert ear is not None
    for seed in range(40):
        ear.hear(noise(8000, seed=seed))
        sizes.add(_numbers(ear._state) + _numbers(ear._mel._rest) + _numbers(ear._frames))
    assert len(sizes) == 1 or max(sizes) - min(sizes) <= 321 + 4 * 128  # a window and three frames more or less


@pytest.mark.slow
def test_an_hour(family: Gemma4Family) -> None:
    """Without a limit of its own: constant memory, and the end equals what the last half minute's context gives."""
    ear = family.ear()
    assert ear is not None
    sound = babble(480_000)
    after_a_minute = 0
    for second in range(3600):
        piece = sound[(second % 30) * 16_000 :][:16_000]
        last = ear.hear(piece)
        size = _numbers(ear._state) + _numbers(ear._mel._rest) + _numbers(ear._frames)
        if second == 60:
            after_a_minute = size
        assert second <= 60 or size <= after_a_minute + 321 + 4 * 128
    assert ear.tokens == 3600 * 25 - 1
    # A token's past reaches 11 tokens a layer back, and four more through the convolution: seconds, not minutes.
    context = np.concatenate([sound[-160_000:], sound, sound[:0]])
    again = family.ear()
    assert again is not None
    repeated = torch.cat([again.hear(context[i : i + 16_000]) for i in range(0, len(context), 16_000)])
    assert float((repeated[-len(last) :] - last).abs().max()) <= BOUND
