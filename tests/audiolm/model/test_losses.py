"""What training goes down: who is counted, who sees whom, and that all of the model learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.delay import delayed
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.losses import score
from auricle.audiolm.model.prompt import Prompt
from auricle.errors import OptionError, PromptError
from tests.audiolm.model.small import BOOKS, KINDS, SIZE, batch, codes, model, prompts

LENGTHS = (9, 7, 8, 3)


def changed(given: Batch, name: str, row: int, frame: int, codebook: int) -> Batch:
    """With another code in one place."""
    other = getattr(given, name).clone()
    other[row, frame, codebook] = (other[row, frame, codebook] + 1) % SIZE
    return replace(given, **{name: other})


def hidden(lm: AudioLM, given: Batch) -> Tensor:
    """What the AR half's steps predict from."""
    config, steps = lm.config, given.target_frames + lm.config.streams - 1
    ids = delayed(given.target_codes[..., : config.streams], given.target_lens, steps, config.start, late=1)
    with torch.no_grad():
        return lm.ar_hidden(given, ids)


def nar_hidden(lm: AudioLM, given: Batch, codebook: int) -> Tensor:
    with torch.no_grad():
        target = lm.nar_target(given.target_codes, codebook)
        return lm.nar_hidden(given, lm.nar_prompt(given), target, codebook)


def differs(first: Tensor, second: Tensor) -> list[bool]:
    """For each step."""
    return ((first - second).abs() > 1e-6).any(-1).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_all_tokens_are_counted_and_no_padding(kind: str) -> None:
    lm = model(kind)
    found = lm.evaluate(batch())
    ends = 3 if lm.config.predict_end else 0  # one row has something on its right
    assert found.tokens.tolist() == [27 + ends, 27, 27, 27]  # the first of each target too, with BOS and without
    alone = [
        lm.evaluate(Batch.of([prompt], [batch().target_codes[row, :length]]))
        for row, (prompt, length) in enumerate(zip(prompts(), LENGTHS, strict=True))
    ]
    for name in ("nll_sums", "tokens", "top1", "top10"):
        wanted = torch.stack([getattr(one, name) for one in alone]).sum(0)
        assert torch.allclose(getattr(found, name).double(), wanted.double(), rtol=1e-5), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_padding_does_not_matter(kind: str) -> None:
    lm, given = model(kind), batch()
    filled = replace(given, prompt_codes=given.prompt_codes.clone(), target_codes=given.target_codes.clone())
    for row in range(4):
        filled.prompt_codes[row, int(given.prompt_lens[row]) :] = 5
        filled.target_codes[row, int(given.target_lens[row]) :] = 7
    assert torch.allclose(lm.evaluate(given).nll_sums, lm.evaluate(filled).nll_sums, rtol=1e-6)


@pytest.mark.parametrize("full", [True, False])
def test_full_batches_need_no_mask_and_lose_nothing(full: bool) -> None:
    given = Batch.of([Prompt(codes(4, 1)), Prompt(codes(4, 2))], [codes(5, 3), codes(5, 4)])
    for kind in KINDS:
        wanted = model(kind).evaluate(replace(given, full_prompts=False, full_targets=False))
        found = model(kind).evaluate(replace(given, full_prompts=True, full_targets=full))
        assert torch.allclose(found.nll_sums, wanted.nll_sums, rtol=1e-6)


def test_the_start_is_learned() -> None:
    lm = model()
    lm.evaluate(batch(), stage=1).total.backward()
    gradient = lm.ar_audio_embedding.weight.grad
    assert gradient is not None
    assert gradient[lm.config.start].abs().sum() > 0


@pytest.mark.parametrize("kind", ["ar-nar", "post-norm", "seed"])
def test_the_ar_half_sees_only_what_is_before(kind: str) -> None:
    lm, given = model(kind), batch()
    before = hidden(lm, given)
    after = hidden(lm, changed(given, "target_codes", 0, 4, 0))
    assert differs(before[0], after[0]) == [False] * 5 + [True] * 4
    assert differs(before[1], after[1]) == [False] * 9  # rows are apart
    assert torch.equal(before, hidden(lm, changed(given, "target_codes", 0, 4, 1)))


@pytest.mark.parametrize("kind", ["delay", "delay-end"])
def test_the_delay_pattern_sees_only_what_is_before(kind: str) -> None:
    lm, given = model(kind), batch()
    before = hidden(lm, given)
    for codebook in range(BOOKS):
        after = hidden(lm, changed(given, "target_codes", 0, 4, codebook))
        step = 4 + codebook
        assert differs(before[0], after[0]) == [False] * (step + 1) + [True] * (12 - step - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_sees_all_of_the_prompt(kind: str) -> None:
    lm, given = model(kind), batch()
    before = hidden(lm, given)
    for frame in range(12):  # of style, left and right
        for codebook in range(BOOKS):
            after = hidden(lm, changed(given, "prompt_codes", 1, frame, codebook))
            assert all(differs(before[1], after[1])[:7])
    for codebook in range(1, BOOKS) if lm.config.has_nar else ():
        before = nar_hidden(lm, given, codebook)
        after = nar_hidden(lm, changed(given, "prompt_codes", 1, 11, 3), codebook)
        assert all(differs(before[1], after[1])[:7])


def test_the_prompt_sees_itself_in_both_directions_and_no_target() -> None:
    lm, given = model(), batch()
    seen: list[Tensor] = []
    lm.ar_decoder.layers[0].register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    hidden(lm, given)
    hidden(lm, changed(given, "prompt_codes", 1, 11, 0))
    hidden(lm, changed(given, "target_codes", 1, 0, 0))
    prompt = [one[1, :12] for one in seen]
    assert all(differs(prompt[0], prompt[1]))
    assert not any(differs(prompt[0], prompt[2]))


@pytest.mark.parametrize("kind", ["ar-nar", "post-norm", "seed"])
@pytest.mark.parametrize("codebook", [1, 2, 3])
def test_the_nar_half_sees_the_codebooks_before_in_all_frames(kind: str, codebook: int) -> None:
    lm, given = model(kind), batch()
    before = nar_hidden(lm, given, codebook)
    for other in range(BOOKS):
        after = nar_hidden(lm, changed(given, "target_codes", 0, 4, other), codebook)
        assert differs(before[0], after[0]) == [other < codebook] * 9


def test_positions_go_on_in_the_target() -> None:
    lm, given = model(), batch()
    seen: list[Tensor] = []
    for half in (lm.ar_decoder, lm.nar_decoder):
        half.register_forward_pre_hook(lambda module, args, more: seen.append(more["positions"]), with_kwargs=True)
    lm.evaluate(given)
    ar, nar = seen[0][1, :19], seen[1][1, :19]  # what is behind is padding
    assert ar.tolist() == [*range(4096, 4101), 1, 2, 3, 4, 14, 15, 16, *range(4, 11)]  # BOS where left ends
    assert nar.tolist() == [*range(4096, 4101), 1, 2, 3, 4, 14, 15, 16, *range(5, 12)]
    # The right side is where it is in time, not just somewhere behind.
    nearer = replace(prompts()[1], gap=7)
    moved = Batch.of([prompts()[0], nearer, *prompts()[2:]], [codes(length) for length in LENGTHS])
    seen.clear()
    lm.evaluate(moved)
    assert seen[0][1][9:12].tolist() == [12, 13, 14]


def test_the_seeds_positions_begin_again() -> None:
    lm, given = model("seed"), batch()
    seen: list[Tensor] = []
    for place in (lm.ar_audio_position, lm.nar_audio_position):
        place.register_forward_pre_hook(lambda module, args: seen.append(args[1][0]))
    lm.evaluate(given)
    inputs, ar_prompt, nar_prompt, nar_target = seen[:4]
    assert ar_prompt[:6].tolist() == nar_prompt[:6].tolist() == list(range(6))
    assert inputs.tolist() == list(range(9))  # with the end to predict, all nine are read
    assert nar_target.tolist() == list(range(9))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: str) -> None:
    lm = model(kind).train()
    lm.evaluate(batch()).total.backward()
    for name, weight in lm.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_stages() -> None:
    lm, given, generator = model(), batch(), torch.Generator()
    ar, nar = lm.evaluate(given, stage=1), lm.evaluate(given, stage=2)
    both = lm.evaluate(given)
    assert ar.tokens.tolist() == [27, 0, 0, 0]
    assert nar.tokens.tolist() == [0, 27, 27, 27]
    assert both.tokens.tolist() == [27] * 4
    assert torch.allclose(both.total, (ar.total + nar.total) / 2)
    assert torch.allclose(ar.total.double(), ar.nll_sums[0] / 27)
    assert torch.allclose(nar.total.double(), nar.nll_sums.sum() / 81)
    assert not lm.losses(given, stage=2, generator=generator).tokens[0]
    for stage in (3, -1):
        with pytest.raises(OptionError, match="stage"):
            lm.evaluate(given, stage=stage)
    with pytest.raises(OptionError, match="no NAR half"):
        model("delay").evaluate(given, stage=2)


def test_training_draws_a_codebook_a_batch() -> None:
    lm, given = model(), batch()
    drawn = []
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        found = lm.losses(given, stage=0, generator=generator)
        assert found.tokens[0] == 27
        drawn.append(int(found.tokens[1:].nonzero()))
    assert set(drawn) == {0, 1, 2}
    again = [
        int(lm.losses(given, stage=0, generator=generator).tokens[1:].nonzero())
        for generator in [torch.Generator().manual_seed(1)]
        for _ in range(30)
    ]
    assert drawn == again


def test_ends_are_learned_where_sounds_end() -> None:
    lm = model(predict_end=True)
    given = batch()
    assert lm.evaluate(given).tokens[0] == 27 + 3
    assert lm.evaluate(replace(given, ends=torch.tensor([False] * 4))).tokens[0] == 27
    gradient = torch.autograd.grad(lm.evaluate(given, stage=1).total, lm.ar_predict_layer.weight)[0]
    assert gradient[lm.config.end].abs().sum() > 0


def test_one_codebook_has_no_nar_half() -> None:
    lm = AudioLM(32, 4, 1, num_quantizers=1, codebook_size=SIZE)
    assert not any(name.startswith("nar") for name, _ in lm.named_parameters())
    assert lm.evaluate(Batch.of([Prompt(codes(3, books=1))], [codes(4, books=1)])).tokens.tolist() == [4]


def test_a_batch_of_other_codebooks_is_refused() -> None:
    given = Batch.of([Prompt(codes(3, books=2))], [codes(4, books=2)])
    with pytest.raises(PromptError, match="2 codebooks"):
        model().evaluate(given)


def test_a_model_without_bos_needs_a_prompt() -> None:
    with pytest.raises(PromptError, match="prepend_bos"):
        model("seed").evaluate(Batch.of([Prompt(), Prompt(codes(3))], [codes(4), codes(4)]))
    with pytest.raises(PromptError, match="prepend_bos"):
        model("seed").evaluate(Batch.of([Prompt()], [codes(4)]))
    model().evaluate(Batch.of([Prompt()], [codes(4)]))


def test_what_is_counted() -> None:
    logits = torch.tensor([[float(-place) for place in range(12)]] * 4).bfloat16()
    found = score(logits, torch.tensor([0, 9, 10, 1]))
    assert [int(one) for one in (found.tokens, found.top1, found.top10)] == [4, 1, 3]
    assert torch.allclose(found.nll_sum, 4 * found.mean)
    nothing = score(torch.zeros(0, 12, requires_grad=True), torch.zeros(0, dtype=torch.int64))
    assert float(nothing.mean.detach()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_by_autocast_is_near(kind: str) -> None:
    lm, given = model(kind), batch()
    wanted = lm.evaluate(given)
    with torch.autocast("cpu", torch.bfloat16):
        found = lm.evaluate(given)
    assert torch.allclose(found.nll_sums / found.tokens, wanted.nll_sums / wanted.tokens, atol=0.05)
    found.total.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in lm.parameters())


def test_dropout_is_for_training() -> None:
    lm, given = model(dropout=0.3), batch()
    assert torch.equal(lm.evaluate(given).total, lm.evaluate(given).total)
    lm.train()
    assert not torch.equal(lm.evaluate(given).total, lm.evaluate(given).total)


@pytest.mark.parametrize("pattern", ["ar-nar", "delay"])
def test_a_model_learns_what_follows_a_rule(pattern: str) -> None:
    torch.manual_seed(0)
    lm = AudioLM(32, 2, 1, codebook_size=8, pattern=pattern, dropout=0.0)
    optimiser = torch.optim.AdamW(lm.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        first = (torch.randint(8, (16, 1), generator=generator) + 3 * torch.arange(10)) % 8
        items = torch.stack([first, (first + 1) % 8, (3 * first) % 8, (5 * first) % 8], dim=-1)
        given = Batch.of([Prompt(item[:4]) for item in items], [item[4:] for item in items])
        loss = lm.losses(given, stage=0, generator=generator).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert lm.evaluate(given).total < 0.3  # chance is 2.1
