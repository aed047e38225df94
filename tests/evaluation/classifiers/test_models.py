"""Models as classifiers: by likelihoods, by their own labels, by the words of their answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.api import Model, load
from auricle.errors import AuricleError, OptionError, SoundError, UnsupportedError
from auricle.evaluation.classifiers import Classified, classifier_named
from auricle.evaluation.classifiers.answers import Answers
from auricle.evaluation.classifiers.models import Head, Likelihood
from auricle.sound.decode import decode
from auricle.types import Audio
from tests import audio_models
from tests.openai_server import Fail, Peer, Say, model_of, serving

EXAMPLES = Path(__file__).parents[3] / "examples"
LABELS = ("speech", "nonspeech")
NOTHING = Audio(np.empty(0, np.float32), 16_000, "nothing")


@pytest.fixture(scope="module")
def tiny() -> Model:
    return load("tiny")


@pytest.fixture(scope="module")
def sounds() -> list[Audio]:
    return [decode(EXAMPLES / name) for name in ("sentence.wav", "piano.wav", "question.wav")]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(f"transformers:{audio_models.make_labels(tmp_path_factory.mktemp('head'))}")


def classified(found: list[Classified | AuricleError]) -> list[Classified]:
    assert all(isinstance(one, Classified) for one in found), found
    return [one for one in found if isinstance(one, Classified)]


# --- by likelihoods


def test_likelihoods_are_those_of_the_model(tiny: Model, sounds: list[Audio]) -> None:
    found = classified(Likelihood(tiny, LABELS).classify(sounds))
    assert [one.label for one in found] == ["speech", "nonspeech", "speech"]
    for one, sound in zip(found, sounds, strict=True):
        own = tiny.classify(sound, LABELS)
        assert own.asked is not None
        assert one.probabilities == pytest.approx([own.probabilities[label] for label in LABELS], abs=1e-5)
        raw = [logprob for order in own.asked.orders for logprob in order.logprobs]
        assert one.logits == pytest.approx(raw, abs=1e-3)
        assert (one.raw, one.rule) == ("", "likelihood")
        assert 0 < one.preprocess_ms < 1000 * 10
        assert one.model_ms > 0


def test_a_batch_gives_what_each_gives_alone(tiny: Model, sounds: list[Audio]) -> None:
    short = [Audio(sounds[place % 3].samples[4_000 : 7_000 + 900 * place], 16_000) for place in range(9)]
    together = classified(Likelihood(load("tiny"), LABELS).classify([*sounds, *short]))
    for sound, among in zip([*sounds, *short], together, strict=True):
        (alone,) = classified(Likelihood(load("tiny", cache_mb=0), LABELS).classify([sound]))
        assert among.label == alone.label
        assert among.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_provenance_says_how_it_was_asked(tiny: Model) -> None:
    said = Likelihood(tiny, LABELS, orders="given").provenance()
    assert said["prompts"] == ["Choose one: A) SPEECH or B) NONSPEECH."]
    assert "A) SPEECH" in said["answers"][0]["speech"]
    assert (said["model"], said["rule"], said["label_order"]) == ("tiny", "likelihood", "given")
    assert said["prompt_id"].startswith("options@")


@pytest.mark.parametrize("kind", [Likelihood, Answers])
def test_a_sound_that_is_none_is_an_error_in_its_place(tiny: Model, sounds: list[Audio], kind: Any) -> None:
    first, second = kind(tiny, LABELS).classify([NOTHING, sounds[0]])
    assert isinstance(first, SoundError)
    assert isinstance(second, Classified)
    assert kind(tiny, LABELS).classify([]) == []


# --- by labels of its own


def test_labels_of_a_head_count_for_ours(head: Model, sounds: list[Audio]) -> None:
    names = {"dog": "nonspeech", "music": "nonspeech", "speech": "speech"}
    (found,) = classified(Head(head, LABELS, names).classify(sounds[:1]))
    own = head.classify(sounds[0]).probabilities
    sums = [own["speech"], own["dog"] + own["music"]]
    assert found.logits == pytest.approx(sums)
    assert found.probabilities == pytest.approx([one / sum(sums) for one in sums])
    assert found.label == LABELS[int(np.argmax(sums))]
    assert found.rule == "head"


def test_a_head_without_such_labels(head: Model) -> None:
    with pytest.raises(OptionError, match="has no label 'cat' among its 4"):
        Head(head, LABELS, {"cat": "nonspeech", "speech": "speech"})
    with pytest.raises(OptionError, match=r"no label of .* stands for 'nonspeech'"):
        Head(head, LABELS, {"speech": "speech"})


# --- by the words of free answers


def test_free_answers_are_read(tiny: Model, sounds: list[Audio]) -> None:
    found = classified(Answers(tiny, LABELS).classify(sounds))
    assert [one.label for one in found] == ["speech", "nonspeech", "speech"]
    assert found[0].raw == "A) SPEECH | B) SPEECH"
    assert {one.rule for one in found} == {"parser: exact"}
    assert {one.probabilities for one in found} == {None}


@pytest.mark.parametrize(
    ("answers", "label", "rule"),
    [
        ({"A) SPEECH or": "A", "A) NONSPEECH or": "B"}, "speech", "parser: exact"),
        ({"A) SPEECH or": "speech with background noise", "A) NONSPEECH or": "B)"}, "speech", "parser: named, exact"),
        ({"A) SPEECH or": "A", "A) NONSPEECH or": "A"}, None, "parser: exact (the orders disagree)"),
        ({"A) SPEECH or": "A", "A) NONSPEECH or": "A dog"}, None, "parser: exact, nothing (the orders disagree)"),
        ({"A) SPEECH or": "A dog", "A) NONSPEECH or": "A dog"}, None, "parser: nothing"),
    ],
)
def test_both_orders_have_to_agree(sounds: list[Audio], answers: dict[str, str], label: str | None, rule: str) -> None:
    with serving(Peer()) as peer:
        peer.answer = lambda body: Say((next(said for asked, said in answers.items() if asked in str(body)),))
        (found,) = classified(Answers(model_of(peer), LABELS).classify(sounds[:1]))
    assert (found.label, found.rule) == (label, rule)
    assert found.raw == " | ".join(answers.values())


def test_yes_and_no_are_labels_where_the_prompt_asks_for_them(sounds: list[Audio]) -> None:
    with serving(Peer([Say(("No, nobody speaks.",))])) as peer:
        (found,) = classified(Answers(model_of(peer), LABELS, prompt="yesno", orders="given").classify(sounds[:1]))
    assert (found.label, found.rule) == ("nonspeech", "parser: yes/no")


def test_an_error_of_a_server_is_no_answer(sounds: list[Audio]) -> None:
    with serving(Peer([Fail(400, {"error": {"message": "no"}})])) as peer:
        (found,) = Answers(model_of(peer), LABELS).classify(sounds[:1])
    assert isinstance(found, AuricleError)


# --- by name


def test_which_way_a_name_goes(tiny: Model, head: Model) -> None:
    assert isinstance(classifier_named("tiny", LABELS, load=lambda: tiny), Likelihood)
    assert isinstance(classifier_named("tiny", LABELS, load=lambda: tiny, free=True), Answers)
    assert isinstance(classifier_named("x", ("dog", "music"), load=lambda: head), Head)
    with pytest.raises(OptionError, match="has labels of its own and is not asked"):
        classifier_named("x", LABELS, load=lambda: head, prompt="plain")
    with pytest.raises(OptionError, match="tiny has no labels of its own"):
        classifier_named("tiny", LABELS, load=lambda: tiny, names={"a": "speech"})
    with pytest.raises(OptionError, match="silero is not asked"):
        classifier_named("silero", LABELS, load=lambda: tiny, free=True)


def test_a_server_that_gives_no_likelihoods_has_to_answer_freely() -> None:
    with serving(Peer()) as peer:
        model = model_of(peer)
        with pytest.raises(UnsupportedError, match=r"gives no likelihoods of labels: .* --free") as told:
            classifier_named("openai:ear", LABELS, load=lambda: model)
    assert len(str(told.value).splitlines()) == 1
