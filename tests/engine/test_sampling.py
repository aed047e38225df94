"""Choosing tokens: against transformers' logits processors, and that a seed fixes every choice."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
import torch

from auricle.engine.constraint import Held
from auricle.engine.sampling import Sampler, filtered
from auricle.errors import OptionError
from auricle.types import Sampling

VOCABULARY = 50


def logits(seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed))


def picks(count: int, prompt: list[int] | None = None, **options: Any) -> list[int]:
    sampler = Sampler(Sampling(**options), prompt or [])
    return [sampler.pick(logits(i % 7)) for i in range(count)]


def test_greedy_takes_the_likeliest() -> None:
    assert picks(7) == [int(logits(i).argmax()) for i in range(7)]


def test_a_seed_gives_the_same_tokens_and_another_seed_others() -> None:
    one = picks(40, temperature=1.0, seed=1)
    torch.manual_seed(99)  # nothing global has a part in it
    assert picks(40, temperature=1.0, seed=1) == one
    assert picks(40, temperature=1.0, seed=2) != one


def test_greedy_ignores_the_seed() -> None:
    assert picks(7, seed=1) == picks(7, seed=2)


def test_frequencies_follow_the_probabilities() -> None:
    sampler = Sampler(Sampling(temperature=2.0, seed=3), [])
    values = torch.tensor([2.0, 0.0, -2.0])
    counts = torch.bincount(torch.tensor([sampler.pick(values) for _ in range(3000)]), minlength=3)
    assert torch.allclose(counts / 3000, torch.softmax(values / 2, 0), atol=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_k": 5},
        {"top_k": 500},
        {"top_p": 0.9},
        {"top_p": 0.3},
        {"top_p": 1e-6},
        {"min_p": 0.05},
        {"min_p": 0.9},
        {"top_k": 12, "top_p": 0.8, "min_p": 0.1},
    ],
    ids=str,
)
def test_filters_as_transformers(options: dict[str, Any]) -> None:
    warpers = pytest.importorskip("transformers.generation.logits_process")
    for seed in range(30):
        theirs = logits(seed)[None] / 0.8
        if "top_k" in options:
            theirs = warpers.TopKLogitsWarper(min(options["top_k"], VOCABULARY))(None, theirs)
        if "top_p" in options:
            theirs = warpers.TopPLogitsWarper(options["top_p"])(None, theirs)
        if "min_p" in options:
            theirs = warpers.MinPLogitsWarper(options["min_p"])(None, theirs)
        ours = filtered(logits(seed) / 0.8, Sampling(temperature=0.8, **options))
        assert torch.equal(ours, theirs[0]), seed
        assert ours.isfinite().any()


@pytest.mark.parametrize("offset", [0.0, -20.0], ids=["positive and negative", "all negative"])
@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 5.0])
def test_penalises_as_transformers(penalty: float, offset: float) -> None:
    """Tokens of the prompt and of the answer, each once however often it came."""
    warpers = pytest.importorskip("transformers.generation.logits_process")
    prompt = [3, 8, 8, 21]
    sampler, seen = Sampler(Sampling(repetition_penalty=penalty), prompt), list(prompt)
    for seed in range(30):
        values = logits(seed) + offset
        theirs = warpers.RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([seen]), values[None])
        token = sampler.pick(values)
        assert token == int(theirs.argmax())
        seen.append(token)


def test_a_penalty_breaks_a_loop() -> None:
    values = torch.linspace(0.9, 1, VOCABULARY)
    sampler = Sampler(Sampling(repetition_penalty=2.0), [])
    assert len({sampler.pick(values) for _ in range(10)}) == 10


def test_the_logits_given_are_left_alone() -> None:
    values = logits()
    Sampler(Sampling(repetition_penalty=2.0, temperature=0.5, top_k=3, top_p=0.5, min_p=0.1), [1, 2]).pick(values)
    assert torch.equal(values, logits())


def test_half_precision_logits_are_sampled_in_float32() -> None:
    sampler = Sampler(Sampling(temperature=0.7, top_p=0.9, seed=1), [])
    assert 0 <= sampler.pick(logits().bfloat16()) < VOCABULARY


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0; it must be at least 1"),
        ({"temperature": -0.1}, "temperature is -0.1; it must be a number from 0 up"),
        ({"temperature": float("nan")}, "temperature is nan; it must be a number from 0 up"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_k": -1}, "top_k is -1; it must be at least 0"),
        ({"top_p": 0.0}, "top_p is 0.0; it must be above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"min_p": 1.0}, "min_p is 1.0; it must be at least 0 and below 1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0; it must be a number above 0"),
        ({"seed": -1}, "seed is -1; it must be from 0 to"),
        ({"stop": ("",)}, "stop must be a tuple of strings, none of them empty"),
        ({"stop": "end"}, "stop must be a tuple of strings"),
        (
            {"choices": ("a",), "regex": "a"},
            "choices and regex are given; an answer is held to one constraint: keep one",
        ),
        ({"regex": "a", "json_schema": "{}"}, "regex and json_schema are given"),
        ({"choices": "yes"}, "choices is 'yes'; it must be a tuple of strings, such as ('yes', 'no')"),
        ({"choices": []}, "choices is []; it must be a tuple of strings"),
        ({"choices": ("yes", "")}, "a choice is ''; it must be a string that is not blank"),
        ({"choices": ("yes", " \n")}, "a choice is ' \\n'; it must be a string that is not blank"),
        ({"choices": ("yes", 3)}, "a choice is 3; it must be a string"),
        ({"choices": ("yes", " no")}, "choice ' no' begins or ends with white space, and no answer does: take it off"),
        ({"choices": ("yes", "no", "yes")}, "choices has 'yes' 2 times: give each choice once"),
        ({"choices": ("yes", "n\udcff")}, "a choice has a character at 2 that is no text: spell it in UTF-8"),
        ({"regex": ""}, "regex is ''; it must be a string that is not blank"),
        ({"regex": b"a"}, "regex is b'a'; it must be a string"),
        ({"json_schema": ""}, "json_schema is ''; it must be a string that is not blank"),
        ({"json_schema": "{"}, "json_schema is no JSON (Expecting property name enclosed in double quotes: line 1 col"),
        ({"json_schema": "[" * 100_000}, "json_schema is no JSON ("),
        ({"json_schema": "[1]"}, 'json_schema is \'[1]\'; it must be a JSON object such as {"type": "integer"}'),
        ({"json_schema": ["a"]}, "json_schema is '[\"a\"]'; it must be a JSON object"),
        ({"json_schema": {"enum": {"a"}}}, "json_schema can't be written as JSON (Object of type set is not JSON"),
        ({"json_schema": {"enum": [float("nan")]}}, "json_schema can't be written as JSON ("),
    ],
    ids=lambda value: str(value)[:60],
)
def test_options_outside_their_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Sampling(**options)
    assert message in str(caught.value)


def test_a_constraint_is_kept_in_one_form() -> None:
    schema = {"type": "object", "properties": {"é": {"type": "string"}}}
    for given in (schema, MappingProxyType(schema), json.dumps(schema)):
        assert Sampling(json_schema=given) == Sampling(json_schema=json.dumps(schema))
    assert Sampling(json_schema="true").json_schema == "true"
    assert Sampling(choices=["yes", "no"]).choices == ("yes", "no")  # type: ignore[arg-type]
    hash(Sampling(json_schema=schema, stop=("a",)))


class Only(Held):
    """Allows some tokens, whatever came before."""

    def __init__(self, *tokens: int) -> None:
        self.tokens, self.accepted = list(tokens), list[int]()

    def mask(self, logits: torch.Tensor) -> torch.Tensor:
        masked = torch.full_like(logits, -torch.inf)
        masked[self.tokens] = logits[self.tokens]
        return masked

    def accept(self, token: int) -> None:
        self.accepted.append(token)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.0},
        {"temperature": 1.0, "top_k": 10},
        {"temperature": 1.0, "top_p": 0.5},
        {"temperature": 1.0, "min_p": 0.5},
        {"temperature": 2.0, "top_k": 40, "top_p": 0.99, "min_p": 0.01, "repetition_penalty": 2.0},
    ],
    ids=str,
)
def test_only_what_a_constraint_allows_is_picked_and_it_is_told(options: dict[str, Any]) -> None:
    held = Only(3, 8, 21)
    sampler = Sampler(Sampling(**options), [1, 3], held)
    picked = [sampler.pick(logits(i)) for i in range(40)]
    assert held.accepted == picked
    assert set(picked) <= {3, 8, 21}
    assert len(set(picked)) > 1


def test_filters_choose_among_what_is_allowed() -> None:
    """As if nothing else existed: the likeliest three of all are not what top-k keeps."""
    sampler = Sampler(Sampling(temperature=1.0, top_k=2, seed=5), [], Only(0, 1, 2))
    values = torch.tensor([1.0, 1.1, -3.0, *range(5, VOCABULARY + 2)])
    assert {sampler.pick(values) for _ in range(50)} == {0, 1}


def test_a_penalty_counts_before_a_constraint() -> None:
    sampler = Sampler(Sampling(repetition_penalty=10.0), [4], Only(4, 5))
    values = torch.zeros(VOCABULARY)
    values[4], values[5] = 3.0, 2.0
    assert sampler.pick(values) == 5
