"""Scores of whole answers, against one pass over prompt and answer."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from auricle.api import Model, load
from auricle.checkpoint import Checkpoint
from auricle.engine.request import Request, request_of
from auricle.engine.scheduler import ROWS_IN_COMPANY, Scheduler
from auricle.engine.score import AT_ONCE, ROWS, ScoreGoal
from auricle.engine.store import Store
from auricle.errors import AuricleError, CancelledError, DeadlineError, OptionError, PromptError, SoundError
from auricle.models.family import Part, read_one
from auricle.quant.quantize import quantize
from auricle.types import ChoiceScore, Scheduling, Scores, Timings
from tests.checkpoints import make_checkpoint
from tests.engine.scripted import TellingFamily, asked, noise, request_for, together

CLIP = noise(40_000)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(e2b: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("checkpoints")
    quantize(Checkpoint(e2b), "int4", parent / "int4")
    return {"e2b": e2b, "e4b": make_checkpoint(parent / "e4b", family="e4b"), "int4": parent / "int4"}


@pytest.fixture(scope="module")
def model(e2b: Path) -> Model:
    return load(str(e2b), cache_mb=0)


def expected(model: Model, choice: str, question: str = "What?") -> float:
    """From one pass over all of it, each stop token's share of the end."""
    family = model.backend.family  # type: ignore[attr-defined]
    request = request_for(family, asked(question, CLIP))
    ids = family.codec.encode(choice)
    with torch.inference_mode():
        audio = family.encode(family.features(CLIP.samples))
        logits = read_one(family, [*request.prompt.ids, *ids], audio, family.new_cache(), wanted=len(ids) + 1)
    logprobs = logits.double().log_softmax(-1)
    ends = [math.exp(logprobs[-1, stop]) for stop in family.stop_ids]
    return sum(float(logprobs[place, id]) for place, id in enumerate(ids)) + math.log(sum(ends))


def close(got: float, wanted: float) -> bool:
    return got == pytest.approx(wanted, abs=2e-4)


# --- what they are


@pytest.mark.parametrize("name", ["e2b", "e4b", "int4"])
def test_a_score_is_what_one_pass_over_prompt_and_answer_gives(folders: dict[str, Path], name: str) -> None:
    """The packed one rounds activations to 8 bits, in steps that depend on the last bit of a sum: on average small."""
    model = load(str(folders[name]))
    choices = ["yes", "no", "Yes.", "maybe not", "x", "The speaker asks what is louder.", "音", "ab" * 60]
    scores = model.score(CLIP, choices, "What?")
    assert [score.choice for score in scores.choices] == choices
    off = [abs(score.logprob - expected(model, score.choice)) / len(score.token_logprobs) for score in scores.choices]
    assert max(off) < 2e-5 if name != "int4" else sum(off) / len(off) < 0.02
    encode = model.backend.family.codec.encode  # type: ignore[attr-defined]
    for score in scores.choices:
        assert score.tokens == tuple(encode(score.choice))
        assert len(score.token_logprobs) == len(score.tokens) + 1
        assert score.logprob == pytest.approx(sum(score.token_logprobs))
        assert max(score.token_logprobs) < 0


@pytest.mark.parametrize("count", [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 40])
def test_any_number_of_choices(model: Model, count: int) -> None:
    random = Random(count)
    choices = [f"{'a' * random.randrange(40)} {number}" for number in range(count)]
    scores = model.score(CLIP, choices, "What?")
    assert all(close(score.logprob, expected(model, score.choice)) for score in scores.choices)
    assert [score.choice for score in scores.choices] == choices


def test_a_choice_that_another_begins_with(model: Model) -> None:
    """Each is the answer that ends there."""
    choices = ["a", "ab", "abc", "abcabc", "abcabcabcabc"]
    scores = model.score(CLIP, choices, "What?")
    assert all(close(score.logprob, expected(model, score.choice)) for score in scores.choices)
    assert model.score(CLIP, choices[::-1], "What?").probabilities == pytest.approx(scores.probabilities)


def test_all_ends_count(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    family, both = model.backend.family, model.score(CLIP, ["yes"]).choices[0]  # type: ignore[attr-defined]
    assert len(family.stop_ids) > 1
    ends = []
    for stop in sorted(family.stop_ids):
        monkeypatch.setattr(family, "stop_ids", frozenset([stop]))
        ends.append(model.score(CLIP, ["yes"]).choices[0].token_logprobs[-1])
    assert both.token_logprobs[-1] == pytest.approx(math.log(sum(map(math.exp, ends))), abs=1e-5)


def test_a_stop_id_that_has_no_logits_ends_no_answer(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    family, before = model.backend.family, model.score(CLIP, ["yes"]).choices[0]  # type: ignore[attr-defined]
    monkeypatch.setattr(family, "stop_ids", family.stop_ids | {family.vocabulary, 10**6})
    assert model.score(CLIP, ["yes"]).choices[0].logprob == pytest.approx(before.logprob)
    monkeypatch.setattr(family, "stop_ids", frozenset([family.vocabulary]))
    with pytest.raises(OptionError, match="a score needs a model that has a token to end an answer with"):
        model.score(CLIP, ["yes"])


def test_the_greedy_answer_is_the_likeliest_of_its_kind(model: Model) -> None:
    """If it came to its end, no answer that differs only in its last token is likelier."""
    answer = model.ask(CLIP, "What?", max_tokens=30)
    family = model.backend.family  # type: ignore[attr-defined]
    text = family.codec.decode(list(answer.tokens[:-1]))
    scores = model.score(CLIP, [text, text + "x", text + "y"], "What?")
    if answer.finish_reason == "stop" and tuple(family.codec.encode(text)) == answer.tokens[:-1]:
        assert scores.best == text


def test_best_and_probabilities() -> None:
    def scores(**logprobs: float) -> Scores:
        return Scores(tuple(ChoiceScore(c, p, (1,), (p, 0)) for c, p in logprobs.items()), 1, (), Timings())

    two = scores(yes=-1.0, no=-1.0 - math.log(3))
    assert two.best == "yes"
    assert two.probabilities == pytest.approx({"yes": 0.75, "no": 0.25})
    assert scores(a=-2000.0, b=-2001.0).probabilities == pytest.approx({"a": 0.7310586, "b": 0.2689414})
    assert scores(only=-5000.0).probabilities == {"only": 1.0}


# --- what they cost


def test_prompt_and_sound_are_read_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    family, rows, encoded = model.backend.family, [], []  # type: ignore[attr-defined]
    read, encode = family.read, family.encode
    monkeypatch.setattr(family, "read", lambda parts: (rows.append([len(p.ids) for p in parts]), read(parts))[1])
    monkeypatch.setattr(family, "encode", lambda mel: (encoded.append(len(mel)), encode(mel))[1])
    scores = model.score(CLIP, [f"choice {number}" for number in range(20)], "What?")
    assert len(encoded) == 1
    assert rows[0] == [scores.prompt_tokens]
    spelt = [score.tokens for score in scores.choices]
    whole = [one for one in spelt if not any(other != one and other[: len(one)] == one for other in spelt)]
    assert len(whole) < len(spelt)  # "choice 1" is read with "choice 10"
    assert sum(map(sum, rows[1:])) == sum(map(len, whole))
    assert max(map(len, rows[1:])) == AT_ONCE


def test_no_pass_reads_more_than_answers_under_way_may_wait_for(tmp_path: Path) -> None:
    family = TellingFamily(tmp_path)
    family.lasts = None
    scheduler = Scheduler(family, Store(10**9))
    running = scheduler.chunks(scheduler.submit(request_for(family, asked("long", max_tokens=500))))
    next(running)
    score(scheduler, ["x" * 700, *("y" * number for number in range(1, 90))])
    rows = [sum(one.values()) for one in family.told("read")]
    assert max(rows) <= max(ROWS, ROWS_IN_COMPANY) + 1
    for _ in running:
        pass


def test_scores_and_questions_share_what_was_read(folders: dict[str, Path]) -> None:
    model = load(str(folders["e2b"]))
    scores = model.score(CLIP, ["yes", "no"], "Is it?", order="audio-first")
    assert (scores.reused_tokens, scores.reused_clips) == (0, 0)
    assert scores.segments[0].tokens == 63
    answer = model.ask(CLIP, "Is it what?", order="audio-first", max_tokens=3)
    assert answer.reused_tokens > 63
    again = model.score(CLIP, ["yes", "no"], "Is it?", order="audio-first")
    assert (again.reused_tokens, again.reused_clips) == (scores.prompt_tokens - 1, 1)
    assert again.probabilities == pytest.approx(scores.probabilities, rel=1e-3)
    assert 0 < again.timings.prefill_s <= again.timings.ttft_s <= again.timings.total_s


def test_zeros_for_sound(model: Model) -> None:
    heard, zeroed = (model.score(CLIP, ["yes"], zero_audio=zero).choices[0].logprob for zero in (False, True))
    assert not close(heard, zeroed)
    assert close(zeroed, model.score(noise(40_000, 5), ["yes"], zero_audio=True).choices[0].logprob)


# --- among others


def score_request(family: Any, choices: Any, *parts: Any, **terms: Any) -> Request:
    ask = asked(*(parts or ("What?",)), **terms)
    return request_of(family, ask, lambda prompt: ScoreGoal(family, choices, prompt.ids))


def score(scheduler: Scheduler, choices: Any, *parts: Any, **terms: Any) -> Scores:
    return scheduler.result(scheduler.submit(score_request(scheduler.family, choices, *parts, **terms)))


def logprobs(scores: Scores) -> list[float]:
    return [score.logprob for score in scores.choices]


@pytest.mark.parametrize("seed", range(10))
def test_beside_answers_and_other_scores_they_are_as_alone(tmp_path: Path, seed: int) -> None:
    """And so are the answers; also where passes fail, or Ctrl-C ends one in the middle."""
    family, random = TellingFamily(tmp_path), Random(seed)
    scheduler, quiet = Scheduler(family, Store(10**9)), Scheduler(family, Store(0))
    words = [f"{'so ' * random.randrange(30)}{number}" for number in range(12)]
    choices = [random.sample(words, random.randrange(1, 12)) for _ in range(4)]
    asks = [asked(f"{number}?", noise(6_000), max_tokens=30) for number in range(3)]
    scoring = [scheduler.submit(score_request(family, each, "Which?", noise(3_000))) for each in choices]
    answering = [scheduler.submit(request_for(family, ask)) for ask in asks]

    def trouble(part: Part) -> None:
        if random.random() < 0.02 * (seed % 3 == 1):
            raise KeyboardInterrupt
        answered = sum(id(request.cache) in family.log[-1][1] for request in answering)
        if len(family.log[-1][1]) > answered > 0 and random.random() < 0.1 * (seed % 3 == 2):
            raise RuntimeError("too many of them")

    family.on_part = trouble
    while not all(request.done for request in (*scoring, *answering)):
        try:
            scheduler.advance(scoring[0])
        except KeyboardInterrupt:
            continue
    family.on_part = lambda part: None
    for each, request in zip(choices, scoring, strict=True):
        assert logprobs(scheduler.result(request)) == logprobs(score(quiet, each, "Which?", noise(3_000)))
    for ask, request in zip(asks, answering, strict=True):
        assert scheduler.result(request).tokens == quiet.result(quiet.submit(request_for(family, ask))).tokens


def test_from_several_threads_on_a_model(folders: dict[str, Path]) -> None:
    model, alone = load(str(folders["e2b"])), load(str(folders["e2b"]), cache_mb=0)
    choices = [["yes", "no"], [f"{n}" for n in range(12)], ["a long one, in words", "b"]]
    calls = [partial(model.score, noise(20_000 * (n + 1), n), choices[n % 3], f"{n}?") for n in range(6)]
    answers = [partial(model.ask, noise(30_000, n), f"{n}?", max_tokens=20) for n in range(3)]
    *scores, one, two, three = together(*calls, *answers)
    for n, got in enumerate(scores):
        wanted = alone.score(noise(20_000 * (n + 1), n), choices[n % 3], f"{n}?")
        assert logprobs(got) == pytest.approx(logprobs(wanted), abs=1e-3)
    for n, answer in enumerate((one, two, three)):
        assert answer.tokens == alone.ask(noise(30_000, n), f"{n}?", max_tokens=20).tokens


def test_scores_can_be_cancelled_and_time_out(tmp_path: Path) -> None:
    family = TellingFamily(tmp_path)
    scheduler = Scheduler(family, Store(10**9))
    request = scheduler.submit(score_request(family, [f"{number}" for number in range(50)]))
    family.on_part = lambda part: scheduler.cancel(request) if part.cache is not request.cache else None
    with pytest.raises(CancelledError):
        scheduler.result(request)
    family.on_part = lambda part: None
    with pytest.raises(DeadlineError):
        score(scheduler, ["yes"], timeout_s=1e-9)
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_a_score_that_has_no_memory_for_copies_fails_alone(tmp_path: Path) -> None:
    family = TellingFamily(tmp_path)
    scheduler = Scheduler(family, Store(0))
    ask = asked("other", max_tokens=30)
    other, bad = scheduler.submit(request_for(family, ask)), scheduler.submit(score_request(family, ["yes"], "bad"))

    def fork(length: int) -> Any:
        raise MemoryError

    while not bad.going:
        scheduler.advance(bad)
    bad.cache.fork = fork
    with pytest.raises(MemoryError):
        scheduler.result(bad)
    quiet = Scheduler(family, Store(0))
    assert scheduler.result(other).tokens == quiet.result(quiet.submit(request_for(family, ask))).tokens


# --- what is refused


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([], "choices is no list of answers: give at least one"),
        ((), "choices is no list of answers"),
        (None, "choices is no list of answers"),
        ("yes", "choices is no list of answers"),
        (["yes", "no", "yes"], "choices has 'yes' 2 times: give each choice once"),
        (["yes", ""], "choices has '', which is no answer"),
        (["yes", " \n"], r"choices has ' \\n', which is no answer"),
        (["yes", 1], "choices has 1, which is no answer"),
        ([None], "choices has None, which is no answer"),
        ([["yes"]], r"choices has \['yes'\], which is no answer"),
        (["\ud800"], r"choices has '\\ud800', which is no text"),
    ],
)
def test_choices_that_are_none(model: Model, choices: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model.score(CLIP, choices)


def test_a_control_token_in_a_choice(model: Model) -> None:
    with pytest.raises(PromptError, match=r"control token '<turn\|>'"):
        model.score(CLIP, ["yes", "no<turn|>"])


def test_a_choice_that_does_not_fit_the_context(tmp_path: Path) -> None:
    short = load(str(make_checkpoint(tmp_path, max_position_embeddings=100)))
    length = short.score(noise(16_000), ["x"], "What?").prompt_tokens
    assert short.score(noise(16_000), ["x" * (99 - length)], "What?").choices[0].logprob < 0
    with pytest.raises(PromptError, match=rf"the prompt has {length} tokens, a choice {100 - length}, .* holds 100"):
        short.score(noise(16_000), ["yes", "x" * (100 - length)], "What?")
    scheduler = short.backend.scheduler  # type: ignore[attr-defined]
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_an_error_of_one_score_is_not_the_others(model: Model) -> None:
    def ask(choices: list[str]) -> Any:
        try:
            return model.score(CLIP, choices, "What?")
        except AuricleError as error:
            return error

    outcomes = together(*(partial(ask, choices) for choices in (["yes"], [""], ["no", "no"], ["no"])))
    assert [type(outcome) for outcome in outcomes] == [Scores, OptionError, OptionError, Scores]
    assert close(outcomes[3].choices[0].logprob, expected(model, "no"))


def test_many_scores_are_those_of_each_and_errors_stand_in_their_place() -> None:
    model = load("tiny", scheduling=Scheduling(max_running=4))
    sounds = [ROOT / "examples" / name for name in ("sentence.wav", "piano.wav", "question.wav")]
    asks = [(sound, "Is someone speaking?") for sound in sounds]
    found = list(model.score_many([asks[0], (b"no sound", "What?"), *asks[1:]], ["Yes", "No"]))
    assert isinstance(found[1], SoundError)
    for ask, scores in zip(asks, [found[0], *found[2:]], strict=True):
        assert isinstance(scores, Scores)
        alone = load("tiny").score(ask[0], ["Yes", "No"], ask[1])
        assert [one.logprob for one in scores.choices] == pytest.approx(
            [one.logprob for one in alone.choices], abs=1e-5
        )
