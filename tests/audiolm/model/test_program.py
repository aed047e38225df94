"""A step by the native kernels, against torch's operators over a cache and without one."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from auricle.audiolm.model.cache import Cache
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.program import StepProgram, runs
from auricle.audiolm.model.sampling import TokenSampling
from auricle.audiolm.model.stepping import Cached, Native, Plain, Uncached, cached
from auricle.layers import native
from tests.audiolm.model.small import KINDS, SIZE, batch, model, prompts

pytestmark = pytest.mark.skipif(native.missing() is not None, reason="the C++ kernels are not here")

STEPS = 20  # past the sixteen positions that a cache's keys lie in


def ids(lm: AudioLM, rows: int, steps: int = STEPS) -> Tensor:
    read = torch.randint(SIZE, (rows, steps, lm.config.streams), generator=torch.Generator().manual_seed(9))
    read[:, 0] = lm.config.start
    return read


@torch.inference_mode()
def hidden(source: Cached | Uncached, read: Tensor) -> Tensor:
    """`(steps, rows, width)`."""
    return torch.stack([source.hidden(read[:, : step + 1]) for step in range(read.shape[1])])


@pytest.mark.parametrize("heads", [2, 4, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_step(kind: str, heads: int) -> None:
    lm = model(kind, nhead=heads, d_model=64, num_layers=3)
    given, read = batch(), ids(lm, 4)
    whole = hidden(Uncached(lm, given), read)
    for source in (Plain(lm, given, STEPS), Native(lm, given, STEPS)):
        assert (hidden(source, read) - whole).abs().max() < 2e-5 * whole.abs().max()


@pytest.mark.parametrize("kind", ["ar-nar", "delay", "post-norm"])
def test_in_bfloat16_it_is_as_near_to_float32_as_torchs_operators_are(kind: str) -> None:
    lm = model(kind, d_model=64, num_layers=3)
    given, read = batch(), ids(lm, 4)
    exact = hidden(Uncached(lm.bfloat16().float(), given), read)  # of the same weights
    lm.bfloat16()

    def off(source: Cached) -> float:
        found = hidden(source, read)
        assert found.dtype == torch.bfloat16
        return float((found.float() - exact).square().mean() / exact.square().mean()) ** 0.5

    assert off(Native(lm, given, STEPS)) < 1.1 * off(Plain(lm, given, STEPS))
    assert off(Native(lm, given, STEPS)) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_bits_alone(dtype: torch.dtype) -> None:
    decoder = model().to(dtype).ar_decoder
    lens = torch.tensor([5, 1, 17, 0, 16, 40, 3])
    generator = torch.Generator().manual_seed(1)
    keys, values = torch.randn(2, 2, len(lens), 4, 40, 8, generator=generator).to(dtype)
    x = torch.randn(STEPS, len(lens), 32, generator=generator).to(dtype)

    @torch.inference_mode()
    def run(rows: slice) -> Tensor:
        cache = Cache(2, len(lens[rows]), 4, 40, 8, dtype=dtype, device=torch.device("cpu"))
        for layer in range(2):
            cache.extended(layer, keys[layer, rows], values[layer, rows])
        program = StepProgram(decoder, lens[rows], STEPS, rotary=True)
        program.fill(cache)
        return torch.stack([program.run(x[step, rows], lens[rows] + step) for step in range(STEPS)])

    together = run(slice(None))
    for row in range(len(lens)):
        assert torch.equal(run(slice(row, row + 1))[:, 0], together[:, row])


def test_who_has_a_program() -> None:
    assert not runs(model().ar_decoder)  # gradients may be asked for
    with torch.no_grad():
        assert runs(model().ar_decoder)
        assert runs(model().bfloat16().ar_decoder)
        assert not runs(model().half().ar_decoder)
        assert not runs(model(d_model=48, nhead=4).ar_decoder)  # not a whole number of a vector's words
        assert type(cached(model(), batch(), 3)) is Native
        assert type(cached(model().half(), batch(), 3)) is Plain


def test_no_more_steps_than_there_is_room_for_and_no_other_batch() -> None:
    program = StepProgram(model().ar_decoder, torch.tensor([0, 3]), 2, rotary=True)
    x, positions = torch.zeros(2, 32), torch.tensor([0, 3])
    with torch.inference_mode():
        with pytest.raises(AssertionError):
            program.run(x[:1], positions[:1])
        program.run(x, positions)
        program.run(x, positions + 1)
        with pytest.raises(AssertionError):
            program.run(x, positions + 2)


def test_threads_that_generate_at_once() -> None:
    lm = model()
    wanted = [lm.generate(prompts(), 9, TokenSampling(seed=seed)) for seed in range(4)]
    found: dict[int, list[Tensor]] = {}

    def make(seed: int) -> None:
        found[seed] = lm.generate(prompts(), 9, TokenSampling(seed=seed))

    threads = [threading.Thread(target=make, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, rows in enumerate(wanted):
        assert all(torch.equal(*pair) for pair in zip(rows, found[seed], strict=True))


def test_weights_that_are_changed_are_read_anew() -> None:
    lm = model()
    before = lm.generate(prompts(), 9, TokenSampling(temperature=0.0))
    with torch.no_grad():
        lm.ar_decoder.layers[0].linear2.weight.neg_()
        lm.ar_decoder.norm.bias.normal_()
    after = lm.generate(prompts(), 9, TokenSampling(temperature=0.0))
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    slow = lm.generate(prompts(), 9, TokenSampling(temperature=0.0), cache=False)
    assert all(torch.equal(*pair) for pair in zip(after, slow, strict=True))
