"""Generation: the same with a cache and without, in a batch and alone, and what the model was trained to say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from auricle.audiolm.model.delay import delayed
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling
from auricle.errors import CancelledError, CheckpointError, OptionError, PromptError
from tests.audiolm.model.small import BOOKS, KINDS, SIZE, batch, codes, model, prompts

GREEDY = TokenSampling(temperature=0.0)
DRAWN = TokenSampling(temperature=0.9, top_k=20, top_p=0.9, guidance=2.0, repetition_window=5, seed=3, nar="sampled")
FRAMES = [9, 7, 12, 3]


def without_guidance(lm: AudioLM, sampling: TokenSampling) -> TokenSampling:
    """Where the model has no BOS: it can't start from nothing."""
    return sampling if lm.config.prepend_bos else replace(sampling, guidance=1.0)


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("kind", KINDS)
def test_with_a_cache_and_without(kind: str, sampling: TokenSampling) -> None:
    lm = model(kind)
    sampling = without_guidance(lm, sampling)
    cached = lm.generate(prompts(), FRAMES, sampling)
    assert same(cached, lm.generate(prompts(), FRAMES, sampling, cache=False))
    assert (
        len({int(code) for row in cached for code in row.flatten()}) > 4
    )  # not all the same, which would show nothing


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("kind", KINDS)
def test_in_a_batch_and_alone(kind: str, sampling: TokenSampling) -> None:
    lm = model(kind)
    sampling = without_guidance(lm, sampling)
    together = lm.generate(prompts(), FRAMES, sampling)
    for row, (prompt, frames) in enumerate(zip(prompts(), FRAMES, strict=True)):
        own = sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + row)
        assert same([together[row]], lm.generate([prompt], frames, own))


@pytest.mark.parametrize("kind", ["ar-nar", "delay", "post-norm"])
def test_exactly_as_many_frames_as_asked_for(kind: str) -> None:
    lm = model(kind)
    for found in (lm.generate(prompts(), FRAMES), lm.generate(prompts(), 1), lm.generate([Prompt()], 1)):
        assert all(row.shape[1] == BOOKS and row.dtype == torch.int64 for row in found)
        assert all(int(row.min()) >= 0 and int(row.max()) < SIZE for row in found)
    assert [len(row) for row in lm.generate(prompts(), FRAMES)] == FRAMES
    assert [len(row) for row in lm.generate(prompts(), 5)] == [5] * 4
    assert lm.generate([], 5) == []


@pytest.mark.parametrize("kind", ["ar-nar", "delay", "post-norm"])
def test_greedy_codes_are_those_that_training_finds_likeliest(kind: str) -> None:
    lm = model(kind)
    config = lm.config
    found = lm.generate(prompts(), FRAMES, GREEDY)
    given = replace(batch(), **vars(type(batch()).of(prompts(), found)))
    steps = given.target_frames + config.streams - 1
    streams = given.target_codes[..., : config.streams]
    with torch.no_grad():
        hidden = lm.ar_hidden(given, delayed(streams, given.target_lens, steps, config.start, late=1))
        likeliest = [lm.ar_logits(hidden, stream).argmax(-1) for stream in range(config.streams)]
        for row, target in enumerate(found):
            for stream in range(config.streams):
                assert likeliest[stream][row, stream : stream + len(target)].tolist() == target[:, stream].tolist()
        for codebook in range(1, BOOKS) if config.has_nar else ():
            target_sum = lm.nar_target(given.target_codes, codebook)
            logits = lm.nar_logits(lm.nar_hidden(given, lm.nar_prompt(given), target_sum, codebook), codebook)
            for row, target in enumerate(found):
                assert logits[row, : len(target)].argmax(-1).tolist() == target[:, codebook].tolist()


@pytest.mark.parametrize("kind", ["ar-nar", "delay", "seed", "delay-end"])
def test_nats_of_each_target(kind: str) -> None:
    """As the losses of training have them, one row at a time, without a sound's end and without dropout."""
    lm = model(kind, dropout=0.5).train()
    targets = [codes(frames, 50 + frames) for frames in FRAMES]
    found = lm.nats(prompts(), targets)
    assert lm.training
    assert found == lm.nats(prompts(), targets)
    lm.eval()
    for one, prompt, target in zip(found, prompts(), targets, strict=True):
        losses = lm.evaluate(type(batch()).of([prompt], [target], [False]), stage=1)
        assert one == pytest.approx(float(losses.nll_sums.sum()), rel=1e-6)
        assert int((losses.tokens > 0).sum()) == lm.config.streams


def test_nats_of_codes_that_are_none() -> None:
    with pytest.raises(PromptError, match="the model's lie in"):
        model().nats([Prompt()], [codes(3) + SIZE])


@pytest.mark.parametrize("kind", ["ar-nar", "delay"])
def test_guidance(kind: str) -> None:
    lm, own = model(kind), prompts()
    plain, nothing = lm.generate(own, 8, GREEDY), lm.generate([Prompt()], 8, GREEDY)[0]
    assert all(torch.equal(row, nothing) for row in lm.generate(own, 8, replace(GREEDY, guidance=0.0)))
    assert not any(torch.equal(row, nothing) for row in plain)
    strong = lm.generate(own, 8, replace(GREEDY, guidance=4.0))
    assert not same(strong, plain)
    assert same(lm.generate([Prompt()], 8, replace(GREEDY, guidance=4.0)), [nothing])  # nothing to go away from


@pytest.mark.parametrize("kind", ["ar-nar", "delay"])
def test_each_part_of_a_prompt_is_heard(kind: str) -> None:
    lm, full = model(kind, seed=2), prompts()[1]
    found = lm.generate([full], 9, GREEDY)[0]
    for change in (
        {"left": codes(4, 50)},
        {"right": codes(3, 51)},
        {"style": codes(5, 52)},
        {"style": codes(0)},
        {"gap": 20},
    ):
        assert not torch.equal(lm.generate([replace(full, **change)], 9, GREEDY)[0], found), change


def test_options_change_what_is_drawn_and_seeds_bring_it_back() -> None:
    lm = model()
    drawn = {
        name: lm.generate([prompts()[0]], 30, sampling)[0]
        for name, sampling in {
            "plain": TokenSampling(seed=1),
            "again": TokenSampling(seed=1),
            "seed": TokenSampling(seed=2),
            "cold": TokenSampling(seed=1, temperature=0.3),
            "top_k": TokenSampling(seed=1, top_k=2),
            "top_p": TokenSampling(seed=1, top_p=0.3),
            "nar": TokenSampling(seed=1, nar="sampled"),
        }.items()
    }
    assert torch.equal(drawn["plain"], drawn["again"])
    for name in ("seed", "cold", "top_k", "top_p"):
        assert not torch.equal(drawn["plain"][:, 0], drawn[name][:, 0]), name
    assert torch.equal(drawn["plain"][:, 0], drawn["nar"][:, 0])
    assert not torch.equal(drawn["plain"], drawn["nar"])
    assert not torch.equal(lm.generate([Prompt()], 30)[0], lm.generate([Prompt()], 30)[0])


@pytest.mark.parametrize("kind", ["ar-nar", "delay"])
def test_repetition_is_drawn_again(kind: str) -> None:
    lm = model(kind)
    with torch.no_grad():
        for head in (lm.ar_predict_layer, *lm.ar_delay_predict_layers.values()):
            head.weight *= 0.05  # nearly even, so that only top_k=1 makes it repeat
    stuck = lm.generate([prompts()[0]], 40, TokenSampling(top_k=1, seed=1))[0]
    freed = lm.generate([prompts()[0]], 40, TokenSampling(top_k=1, seed=1, repetition_window=10))[0]
    for codebook in range(lm.config.streams):
        repeats = [
            max(int((row[at + 1 : at + 11, codebook] == row[at, codebook]).sum()) for at in range(30))
            for row in (stuck, freed)
        ]
        assert repeats[1] < repeats[0], codebook


def test_cancelled_between_two_steps() -> None:
    event, seen = threading.Event(), []

    def step(frames: int) -> None:
        seen.append(frames)
        if frames == 3:
            event.set()

    with pytest.raises(CancelledError):
        model().generate(prompts(), 9, GREEDY, cancel=event, step=step)
    assert seen == [1, 2, 3]


def test_cancelled_in_the_second_half() -> None:
    event = threading.Event()
    with pytest.raises(CancelledError):
        model().generate(prompts(), 9, GREEDY, cancel=event, step=lambda frames: event.set() if frames == 9 else None)


@pytest.mark.parametrize("kind", ["ar-nar", "delay"])
def test_steps_are_told_in_frames(kind: str) -> None:
    seen: list[int] = []
    model(kind).generate(prompts()[:1], 6, GREEDY, step=seen.append, cancel=threading.Event())
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("kind", ["delay-end", "ar-nar"])
def test_a_model_that_ends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = model(kind, predict_end=True)
    plain, steps = lm.ar_logits, []

    def logits(hidden: Tensor, stream: int, row: int | None = 1) -> Tensor:
        found = plain(hidden, stream)
        if stream == 0:
            steps.append(len(steps))
            found[:, lm.config.end] = -100.0
            if row is not None and steps[-1] == 4:
                found[row, lm.config.end] = 100.0
        return found

    monkeypatch.setattr(lm, "ar_logits", logits)
    ended = lm.generate(prompts(), 9, GREEDY)
    assert [len(row) for row in ended] == [9, 4, 9, 9]
    steps.clear()
    monkeypatch.setattr(lm, "ar_logits", lambda hidden, stream: logits(hidden, stream, None))
    whole = lm.generate(prompts(), 9, GREEDY)
    assert torch.equal(ended[1][:, 0], whole[1][:4, 0])
    assert same([ended[row] for row in (0, 2, 3)], [whole[row] for row in (0, 2, 3)])


def test_no_steps_after_all_rows_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = model(predict_end=True)
    plain, calls = lm.ar_logits, []

    def logits(hidden: Tensor, stream: int) -> Tensor:
        calls.append(stream)
        found = plain(hidden, stream)
        found[:, lm.config.end] = 100.0 if len(calls) == 1 else -100.0
        return found

    monkeypatch.setattr(lm, "ar_logits", logits)
    assert [row.shape for row in lm.generate(prompts(), 9, GREEDY)] == [(0, BOOKS)] * 4
    assert len(calls) == 1


def test_generation_leaves_training_as_it_was() -> None:
    lm = model(dropout=0.5).train()
    state = torch.get_rng_state()
    found = lm.generate(prompts(), 5, GREEDY)
    assert lm.training
    assert lm.ar_decoder.training
    assert torch.equal(torch.get_rng_state(), state)
    assert same(found, lm.generate(prompts(), 5, GREEDY))  # no dropout
    assert all(weight.grad is None for weight in lm.parameters())
    with pytest.raises(PromptError):
        lm.generate([Prompt(codes(3) + SIZE)], 5)
    assert lm.training


@pytest.mark.parametrize("kind", ["ar-nar", "delay"])
def test_in_bfloat16(kind: str) -> None:
    lm = model(kind).bfloat16()
    found = lm.generate(prompts(), FRAMES, DRAWN)
    assert [len(row) for row in found] == FRAMES
    assert all(int(row.min()) >= 0 and int(row.max()) < SIZE for row in found)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    "name", ["ar_decoder.layers.0.linear1.bias", "ar_predict_layer.weight", "nar_decoder.layers.1.norm2.norm.weight"]
)
def test_damaged_weights_make_nothing(name: str, value: float) -> None:
    lm = model()
    with torch.no_grad():
        lm.get_parameter(name)[3] = value
    for cache in (True, False):
        with pytest.raises(CheckpointError, match="what is no number: its weights are damaged"):
            lm.generate(prompts(), FRAMES, cache=cache)


def test_one_codebook() -> None:
    lm = model(num_quantizers=1)
    found = lm.generate([Prompt(codes(3, books=1)), Prompt()], [4, 6], GREEDY)
    assert [tuple(row.shape) for row in found] == [(4, 1), (6, 1)]


def test_the_seeds_call() -> None:
    lm, x = model("seed", predict_end=False), codes(15)[None]
    with torch.no_grad():
        found = lm.inference(x=x, x_lens=torch.tensor([15]), max_new_tokens=50, temperature=1.0, top_k=50)
    assert found.shape == (1, 65, BOOKS)  # the prompt, and exactly so many
    assert torch.equal(found[:, :15], x)
    three = torch.stack([codes(5, row) for row in range(3)])
    together = lm.inference(three, torch.tensor([5, 5, 5]), 6, temperature=0.0)
    assert together.shape == (3, 11, BOOKS)
    for row in range(3):
        assert torch.equal(together[row : row + 1], lm.inference(three[row : row + 1], torch.tensor([5]), 6, 0.0))
    padded = torch.cat([x[:, :5], torch.zeros(1, 3, BOOKS, dtype=torch.int64)], dim=1)
    assert torch.equal(
        lm.inference(padded, torch.tensor([5]), 6, 0.0), lm.inference(x[:, :5], torch.tensor([5]), 6, 0.0)
    )
    assert lm.inference(x, torch.tensor([15]), 4, top_k=-100, top_p=0.9, seed=1).shape == (1, 19, BOOKS)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda lm: lm.generate(prompts(), 0), OptionError, "frames is 0"),
        (lambda lm: lm.generate(prompts(), [3, 4]), OptionError, "2 numbers for 4 prompts"),
        (lambda lm: lm.generate(prompts(), 10), PromptError, "gap has 9"),
        (lambda lm: lm.generate([Prompt(codes(3) + SIZE - 1)], 5), PromptError, r"lie in 0\.\.31"),
        (lambda lm: lm.generate([Prompt(codes(3) - SIZE)], 5), PromptError, r"lie in 0\.\.31"),
        (lambda lm: lm.generate([Prompt(codes(3, books=2))], 5), PromptError, "2 codebooks"),
        (lambda lm: lm.inference(codes(5), torch.tensor([5]), 3), PromptError, "x is"),
        (lambda lm: lm.inference(codes(5)[None], torch.tensor([6]), 3), PromptError, "x_lens"),
        (lambda lm: lm.inference(torch.zeros(2, 5, 4).long(), torch.tensor([5, 4]), 3), PromptError, "generate"),
        (lambda lm: lm.inference(codes(5)[None], torch.tensor([5]), 3, beams=3), OptionError, "beams"),
        (lambda lm: lm.inference(codes(5)[None], torch.tensor([5]), 3, temperature=-1), OptionError, "temperature"),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[AudioLM], object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call(model())


def test_a_model_without_bos_needs_a_prompt() -> None:
    for own in ([Prompt()], [Prompt(codes(3)), Prompt()]):
        for cache in (True, False):
            with pytest.raises(PromptError, match="prepend_bos"):
                model("seed").generate(own, 3, cache=cache)
    with pytest.raises(PromptError, match="prepend_bos"):
        model("seed").generate([Prompt(codes(3))], 3, TokenSampling(guidance=2.0))
