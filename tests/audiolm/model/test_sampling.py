"""How tokens are drawn: each option against frequencies that follow from it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from auricle.audiolm.model.sampling import TokenSampling, draw, guided
from auricle.errors import OptionError

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -30.0])
DRAWS = 40_000


def frequencies(sampling: TokenSampling, logits: Tensor = LOGITS, recent: Tensor | None = None) -> Tensor:
    uniforms = torch.rand(DRAWS, 2, generator=torch.Generator().manual_seed(1))
    recent = None if recent is None else recent.expand(DRAWS, -1)
    drawn = draw(logits.expand(DRAWS, -1), uniforms, sampling, recent)
    return torch.bincount(drawn, minlength=len(logits)) / DRAWS


def near(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).abs().max() < 0.01)


def test_the_distribution_as_it_is() -> None:
    assert near(frequencies(TokenSampling()), LOGITS.softmax(0))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature(temperature: float) -> None:
    assert near(frequencies(TokenSampling(temperature=temperature)), (LOGITS / temperature).softmax(0))


def test_temperature_0_is_the_likeliest() -> None:
    assert frequencies(TokenSampling(temperature=0.0))[0] == 1


def test_top_k() -> None:
    wanted = torch.cat([LOGITS[:2].softmax(0), torch.zeros(3)])
    found = frequencies(TokenSampling(top_k=2))
    assert near(found, wanted)
    assert found[2:].sum() == 0
    assert near(frequencies(TokenSampling(top_k=100)), LOGITS.softmax(0))


def test_top_p() -> None:
    # 0.644, 0.237, 0.087, 0.032: the first two have 0.88
    for top_p, kept in ((0.01, 1), (0.6, 1), (0.7, 2), (0.85, 2), (0.9, 3), (0.98, 4)):
        found = frequencies(TokenSampling(top_p=top_p))
        assert found[kept:].sum() == 0
        assert near(found[:kept], LOGITS[:kept].softmax(0))


def test_top_p_in_another_order() -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    found = frequencies(TokenSampling(top_p=0.7), LOGITS[order])
    assert found[order >= 2].sum() == 0


def test_what_is_impossible_is_never_drawn() -> None:
    logits = torch.full((3, 6), -torch.inf)
    logits[:, 2] = 0.0
    edges = torch.tensor([[0.0, 0.0], [0.5, 0.5], [1 - 2**-24, 1 - 2**-24]])
    assert draw(logits, edges, TokenSampling()).tolist() == [2, 2, 2]


def test_a_token_that_is_too_frequent_is_drawn_again_from_all() -> None:
    sampling = TokenSampling(top_k=1, repetition_window=10, repetition_ratio=0.1)
    once, twice = torch.tensor([[0, 3, 3, 3, 4]]), torch.tensor([[0, 0, 3, 3, 4]])
    assert frequencies(sampling, recent=once)[0] == 1  # 1 of 10 is no more than 0.1
    assert near(frequencies(sampling, recent=twice), LOGITS.softmax(0))
    assert frequencies(sampling)[0] == 1
    assert frequencies(sampling, recent=twice[:, :0])[0] == 1


def test_guidance_goes_on_from_without_to_with_the_prompt() -> None:
    both = torch.tensor([[1.0, 4.0], [2.0, 2.0]])  # with, without
    assert guided(both, 3.0).tolist() == [[-1.0, 8.0]]
    assert guided(both, 1.0).tolist() == [[1.0, 4.0]]
    assert guided(both, 0.0).tolist() == [[2.0, 2.0]]


def test_rows_draw_as_they_would_alone() -> None:
    sampling = TokenSampling(seed=7)
    three = sampling.uniforms([5, 3, 8], 4)
    assert three.shape == (3, 8, 4, 2)
    for row, frames in enumerate([5, 3, 8]):
        alone = TokenSampling(seed=7 + row).uniforms([frames], 4)[0]
        assert torch.equal(three[row, :frames], alone)
    assert not torch.equal(three[0, :3], three[1, :3])
    unseeded = TokenSampling()
    assert not torch.equal(unseeded.uniforms([5], 4), unseeded.uniforms([5], 4))


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    TokenSampling().uniforms([5], 4)
    TokenSampling(seed=3).uniforms([5], 4)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("inf")),
        ("temperature", "hot"),
        ("top_k", -1),
        ("top_k", 2.5),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", -1),
        ("guidance", 1e308),
        ("guidance", -1.0),
        ("guidance", float("nan")),
        ("repetition_window", -1),
        ("repetition_ratio", 1.5),
        ("seed", -1),
        ("seed", 1.0),
        ("nar", "beam"),
    ],
)
def test_an_option_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(OptionError, match=field):
        TokenSampling(**{field: value})  # type: ignore[arg-type]


def test_repetition_has_no_meaning_without_drawing() -> None:
    with pytest.raises(OptionError, match="repetition_window"):
        TokenSampling(temperature=0.0, repetition_window=5)
