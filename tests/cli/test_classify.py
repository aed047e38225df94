"""`auricle classify`: labels of a head, labels that are asked, JSON, several files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import auricle as library
from tests import audio_models
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"transformers:{audio_models.make_labels(tmp_path_factory.mktemp('head'))}"


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def test_the_labels_are_the_heads_the_most_probable_first(auricle: Run, head: str, sounds: Path) -> None:
    expected = library.load(head).classify(str(sounds / "tone.wav"))
    done = auricle("classify", sounds / "tone.wav", "--model", head)
    lines = [f"{percent(label.probability)}  {label.name}" for label in expected.labels]
    assert (done.status, done.out.splitlines(), done.err) == (0, lines, "")
    assert auricle("classify", sounds / "tone.wav", "--model", head, "--top", 1).out.splitlines() == lines[:1]
    assert auricle("classify", sounds / "tone.wav", "--model", head, "--top", 0).out.splitlines() == lines


def test_a_model_that_is_asked_takes_the_labels_given(auricle: Run, e2b: Path, sounds: Path) -> None:
    expected = library.load(str(e2b)).classify(str(sounds / "tone.wav"), ["dog", "cat, small"], "Which animal?")
    given = ("--labels", r"dog, cat\, small", "--question", "Which animal?")
    done = auricle("classify", sounds / "tone.wav", "--model", e2b, *given, "--json")
    assert {label["name"]: label["probability"] for label in done.json["labels"]} == pytest.approx(
        expected.probabilities
    )
    assert done.json["best"] == expected.best


def test_json_has_all_that_is_known(auricle: Run, head: str, sounds: Path) -> None:
    done = auricle("classify", sounds / "tone.wav", "--model", head, "--json", "--top", 2)
    record: dict[str, Any] = done.json
    assert set(record) == {"model", "source", "best", "labels", "segments", "timings", "multiple", "notes"}
    assert (record["model"], record["source"]) == (head, str(sounds / "tone.wav"))
    assert len(record["labels"]) == 2
    assert record["best"] == record["labels"][0]["name"]


def test_a_model_that_is_asked_says_how_and_what_was_behind_it(auricle: Run, sounds: Path) -> None:
    record = auricle("classify", sounds / "tone.wav", "--labels", "speech,nonspeech", "--json").json
    assert record["best"] == "nonspeech"
    asked = record["asked"]
    assert asked["prompt_id"].startswith("options@")
    assert asked["labels"] == ["speech", "nonspeech"]
    assert [order["labels"] for order in asked["orders"]] == [["speech", "nonspeech"], ["nonspeech", "speech"]]
    assert [len(order["logprobs"]) for order in asked["orders"]] == [2, 2]
    assert asked["orders"][1]["prompt"] == "Choose one: A) NONSPEECH or B) SPEECH."


def test_prompts_and_orders(auricle: Run, sounds: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("prompt = \"Is someone speaking?\"\nanswers = [\"{{ 'Yes' if first else 'No' }}\"]\n")
    given = ("classify", sounds / "tone.wav", "--labels", "speech,other", "--orders", "given", "--json")
    for prompt, words in (("plain", "Answer with one of: speech, other."), (mine, "Is someone speaking?")):
        (order,) = auricle(*given, "--prompt", prompt).json["asked"]["orders"]
        assert words in order["prompt"]


def test_a_bad_file_among_good_ones_is_reported_and_the_rest_is_done(auricle: Run, head: str, sounds: Path) -> None:
    done = auricle("classify", sounds / "noise.wav", "missing.wav", sounds / "tone.wav", "--model", head, "--top", 1)
    assert done.status == 2
    noise, tone = done.out.splitlines()
    assert noise.startswith(f"{sounds / 'noise.wav'}: ")
    assert tone.startswith(f"{sounds / 'tone.wav'}: ")
    assert done.err == "auricle: there is no file missing.wav; check the path\n"


def test_what_was_cut_is_told(auricle: Run, head: str, sounds: Path) -> None:
    done = auricle("classify", sounds / "long.wav", "--model", head, "--top", 1)
    assert "was cut at pauses into 2 clips" in done.err
    assert "the probabilities are the mean over these clips" in done.err


def test_bad_input(refused: Any, head: str, e2b: Path, sounds: Path) -> None:
    tone = sounds / "tone.wav"
    assert "top is -1; it must be at least 0" in refused("classify", tone, "--model", head, "--top", -1)
    assert "has no labels of its own: give some" in refused("classify", tone, "--model", e2b)
    assert "no label 'cat' among its 4" in refused("classify", tone, "--model", head, "--labels", "cat")
    assert "labels has 'a' twice" in refused("classify", tone, "--model", e2b, "--labels", "a,b,a")
    assert "labels" in refused("classify", tone, "--model", e2b, "--labels", "")
    assert "there is no prompt 'x': use options, plain, yesno" in refused(
        "classify", tone, "--model", e2b, "--labels", "a,b", "--prompt", "x"
    )
    assert "prompt yesno has no place for a question" in refused(
        "classify", tone, "--model", e2b, "--labels", "a,b", "--prompt", "yesno", "--question", "What?"
    )
    assert "is not asked: leave the prompt out" in refused("classify", tone, "--model", head, "--prompt", "plain")
    assert "the question is empty" in refused("classify", tone, "--model", e2b, "--labels", "a,b", "--question", " ")
