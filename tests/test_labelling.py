"""Asking for labels: prompts in files, both orders, the answers that say a label, and the sum behind a probability."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest

from auricle.api import Model, load
from auricle.api.labelling import Template, default_prompt, forms_of, read_template, shipped
from auricle.api.labelling.forms import shares
from auricle.errors import OptionError, SoundError
from auricle.types import AskedOrder, Audio, Labels
from tests.engine.scripted import noise

EXAMPLES = Path(__file__).parents[1] / "examples"
BINARY = ["speech", "nonspeech"]
SOUNDS = [EXAMPLES / "sentence.wav", EXAMPLES / "piano.wav", EXAMPLES / "question.wav"]


@pytest.fixture(scope="module")
def tiny() -> Model:
    return load("tiny")


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


# --- prompts


def test_what_is_shipped() -> None:
    assert shipped() == ["options", "plain", "yesno"]


@pytest.mark.parametrize(
    ("name", "labels", "question", "asked", "said"),
    [
        (
            "plain",
            ["dog", "cat"],
            None,
            "What is heard in this audio? Answer with one of: dog, cat.",
            ("dog", "DOG", "Dog", "dog.", "DOG.", "Dog."),
        ),
        ("plain", ["x"], " Which? ", "Which? Answer with one of: x.", ("x", "X", "x.", "X.")),
        (
            "options",
            BINARY,
            None,
            "Choose one: A) SPEECH or B) NONSPEECH.",
            ("A) SPEECH", "A) SPEECH.", "A", "A)", "A.", "SPEECH", "speech", "Speech", "SPEECH.", "speech.", "Speech."),
        ),
        ("yesno", BINARY, None, "Is this speech? Answer yes or no.", ("Yes", "yes", "YES", "Yes.", "yes.", "YES.")),
    ],
)
def test_the_prompts_that_are_shipped(
    name: str, labels: list[str], question: str | None, asked: str, said: tuple[str, ...]
) -> None:
    template = read_template(name)
    assert template.asking(labels, question) == asked
    assert template.saying(labels, 0) == said
    assert template.id.startswith(f"{name}@")


def test_three_options() -> None:
    template = read_template("options")
    assert template.asking(["a", "b", "c"], "What is it?") == "What is it? A) A, B) B or C) C."
    assert template.saying(["a", "b", "c"], 2)[0] == "C) C"


def test_a_letter_stands_for_the_label_in_its_place() -> None:
    template = read_template("options")
    assert template.saying(BINARY, 1)[2] == template.saying(BINARY[::-1], 1)[2] == "B"


@pytest.mark.parametrize(
    ("labels", "question", "name"),
    [
        (BINARY, None, "options"),
        (["no_speech", "speech"], None, "options"),
        (["speech", "Not speech"], None, "options"),
        (["dog", "non-dog"], None, "options"),
        (BINARY, "What is it?", "plain"),
        (["speech", "music"], None, "plain"),
        (["speech", "nonspeech", "music"], None, "plain"),
        (["speech"], None, "plain"),
    ],
)
def test_the_prompt_unless_one_is_named(labels: list[str], question: str | None, name: str) -> None:
    assert default_prompt(labels, question) == name


def test_a_prompt_of_ones_own(tmp_path: Path, tiny: Model) -> None:
    path = written(tmp_path, "prompt = \"Is someone speaking?\"\nanswers = [\"{{ 'Yes' if first else 'No' }}\"]")
    found = tiny.classify(SOUNDS[0], BINARY, prompt=path, orders="given")
    assert found.best == "speech"
    assert found.asked is not None
    assert (found.asked.orders[0].prompt, found.asked.prompt_id[:5]) == ("Is someone speaking?", "mine@")
    before = read_template(path).id
    path.write_text(path.read_text() + "# changed\n")
    assert read_template(path).id != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt =", "is no TOML"),
        ('prompt = "a"', "has no field 'answers'"),
        ('answers = ["a"]', "has no field 'prompt'"),
        ('prompt = ""\nanswers = ["a"]', "it must be a text that is not empty"),
        ('prompt = "a"\nanswers = "a"', "it must be a list of texts"),
        ('prompt = "a"\nanswers = []', "it must be a list of texts"),
        ('prompt = "a"\nanswers = [1]', "has 1 among its answers"),
        ('prompt = "a"\nanswers = ["a"]\ncount = true', "it must be a number of labels"),
        ('prompt = "a"\nanswers = ["a"]\nextra = 1', "has a field 'extra'; it may have prompt, answers"),
        ('prompt = "{{ lables }}"\nanswers = ["a"]', "has 'lables' in its prompt; there is labels, options, question"),
        ('prompt = "a"\nanswers = ["{{ labels }}"]', "has 'labels' in its answers; there is label, letter"),
        ('prompt = "{% if %}"\nanswers = ["a"]', "has prompt that is no jinja"),
        ('prompt = "a"\nquestion = "b"\nanswers = ["a"]', r"must have a field 'question' and \{\{ question \}\}"),
        ('prompt = "{{ question }}"\nanswers = ["a"]', "must have a field 'question'"),
    ],
)
def test_a_file_that_is_no_prompt(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as told:
        read_template(written(tmp_path, text))
    assert len(str(told.value).splitlines()) == 1


def test_a_prompt_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no prompt 'plane': use options, plain, yesno, or the path"):
        read_template("plane")
    with pytest.raises(OptionError, match="can't be read"):
        read_template(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'prompt = "\xe4"')
    with pytest.raises(OptionError, match=r"can't be read \(it is no UTF-8\)"):
        read_template(tmp_path / "latin.toml")


def test_what_a_prompt_can_not_do() -> None:
    with pytest.raises(OptionError, match="prompt yesno is for 2 labels, and 3 are given"):
        read_template("yesno").asking(["a", "b", "c"])
    with pytest.raises(OptionError, match="prompt yesno has no place for a question"):
        read_template("yesno").asking(["a", "b"], "What?")
    with pytest.raises(OptionError, match="there are letters for 26 options, and 27 labels: use prompt plain"):
        read_template("options").asking([f"{number}" for number in range(27)])
    with pytest.raises(OptionError, match="the question is empty"):
        read_template("plain").asking(["a"], " ")
    with pytest.raises(OptionError, match="asks nothing"):
        Template("mine", "0", "{{ '' }}", ("a",)).asking(["a"])
    with pytest.raises(OptionError, match=r"prompt mine can't be rendered \(ZeroDivisionError: .*\): see its prompt"):
        Template("mine", "0", "{{ 1 / 0 }}", ("a",)).asking(["a"])


# --- which answers say a label


class Spelling:
    """A backend that writes words of a vocabulary, and capitals as small letters when it is told to."""

    def __init__(self, *unknown: str, folds: bool = False) -> None:
        self.unknown, self.folds = unknown, folds

    def spelt(self, answer: str) -> tuple[int, ...]:
        if any(word in answer for word in self.unknown):
            return ()
        return tuple((answer.lower() if self.folds else answer).encode())


def answers(backend: Spelling, labels: list[str], prompt: str = "plain") -> dict[str, tuple[str, ...]]:
    return forms_of(cast("Any", backend), labels, None, prompt, "given")[1][0].answers


def test_an_answer_counts_once_however_often_it_is_written() -> None:
    assert answers(Spelling(), ["DOG"])["DOG"] == ("DOG", "dog", "Dog", "DOG.", "dog.", "Dog.")
    assert answers(Spelling(folds=True), ["dog"])["dog"] == ("dog", "dog.")


def test_what_the_tokenizer_can_not_write_is_left_out() -> None:
    assert answers(Spelling("DOG", "."), ["dog"])["dog"] == ("dog", "Dog")
    with pytest.raises(OptionError, match="can't write 'dog' for the label 'dog'"):
        answers(Spelling("dog", "DOG", "Dog"), ["dog", "cat"])


def test_what_says_two_labels_says_neither() -> None:
    assert answers(Spelling(), ["dog", "dog."]) == {"dog": ("dog", "DOG", "Dog"), "dog.": ("dog..", "DOG..", "Dog..")}
    with pytest.raises(OptionError, match="prompt plain says the label 'us' as it says another"):
        answers(Spelling(), ["us", "US"])


# --- the sum


def order(*logprobs: float) -> AskedOrder:
    return AskedOrder((), "", logprobs)


def test_a_liking_for_a_letter_cancels_out() -> None:
    bias = 7.0  # for whatever stands first
    assert shares([order(-3 + bias, -2), order(-3, -2 + bias)]) == pytest.approx(shares([order(-3, -2)]))


def test_shares_of_likelihoods_that_are_nothing_in_float64() -> None:
    assert shares([order(-2000.0, -2000.0 - math.log(3))]) == pytest.approx([0.75, 0.25])
    assert shares([order(-1e9, -1.0)]) == [0.0, 1.0]


@pytest.mark.parametrize("prompt", ["plain", "options", "yesno"])
def test_probabilities_are_the_scores_of_all_answers_in_both_orders(tiny: Model, prompt: str) -> None:
    found = tiny.classify(SOUNDS[0], BINARY, prompt=prompt)
    assert found.asked is not None
    assert [one.labels for one in found.asked.orders] == [tuple(BINARY), tuple(BINARY[::-1])]
    means = [0.0, 0.0]
    for one in found.asked.orders:
        template = read_template(prompt)
        assert one.prompt == template.asking(one.labels)
        for place, label in enumerate(BINARY):
            said = list(template.saying(one.labels, one.labels.index(label)))
            scores = tiny.score(SOUNDS[0], said, one.prompt)
            likelihood = math.log(sum(math.exp(answer.logprob) for answer in scores.choices))
            assert one.logprobs[place] == pytest.approx(likelihood, abs=1e-3)
            means[place] += likelihood / 2
    assert found.probabilities["speech"] == pytest.approx(1 / (1 + math.exp(means[1] - means[0])), abs=1e-5)
    assert sum(found.probabilities.values()) == pytest.approx(1.0)


def test_tiny_tells_speech_from_other_sounds(tiny: Model) -> None:
    assert [tiny.classify(sound, BINARY).best for sound in SOUNDS] == ["speech", "nonspeech", "speech"]
    assert [tiny.classify(sound, BINARY[::-1]).best for sound in SOUNDS] == ["speech", "nonspeech", "speech"]


def test_the_order_of_the_labels_does_not_matter(tiny: Model) -> None:
    for labels in (BINARY, ["speech", "music", "noise"]):
        one, other = tiny.classify(SOUNDS[1], labels), tiny.classify(SOUNDS[1], labels[::-1])
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


# --- many


def test_many_are_as_each_alone_and_errors_stand_in_their_place(tiny: Model) -> None:
    short = [Audio(noise(16_000, seed).samples[: 3_000 + 500 * seed], 16_000) for seed in range(12)]
    sounds = [*SOUNDS, b"no sound", *short]
    found = list(tiny.classify_many(sounds, BINARY))
    assert isinstance(found[3], SoundError)
    quiet = load("tiny", cache_mb=0)
    for sound, labels in zip(sounds, found, strict=True):
        if not isinstance(sound, bytes):
            assert isinstance(labels, Labels)
            assert labels.probabilities == pytest.approx(quiet.classify(sound, BINARY).probabilities, abs=1e-5)


def test_a_sound_is_encoded_once_for_both_orders(tiny: Model) -> None:
    for model in (load("tiny"), load("tiny", cache_mb=0)):
        family, heard = cast("Any", model.backend).family, []
        encode, layers = family.encode, family.hear_layers
        family.encode = lambda mel, encode=encode, heard=heard: (heard.append(1), encode(mel))[1]
        family.hear_layers = lambda mel, *rest, layers=layers, heard=heard: (
            heard.append(len(mel)),
            layers(mel, *rest),
        )[1]
        found = list(model.classify_many([noise(8_000, seed) for seed in range(4)], BINARY))
        assert len(found) == sum(heard) == 4


def test_what_is_wrong_with_labels_is_told_before_a_sound_is_read(tiny: Model) -> None:
    def sounds() -> Any:
        raise AssertionError("nothing is to be read")
        yield

    for labels, message in (([], "labels is"), ("ab", "labels is 'ab'"), (["a", "a"], "more than once")):
        with pytest.raises(OptionError, match=message):
            tiny.classify_many(sounds(), labels)
    with pytest.raises(OptionError, match="orders is 'all'; it must be 'both' or 'given'"):
        tiny.classify_many(sounds(), BINARY, orders=cast("Any", "all"))
    with pytest.raises(OptionError, match="there is no prompt"):
        tiny.classify_many(sounds(), BINARY, prompt="nothing")
