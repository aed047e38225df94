"""The built-in model at work, on the example sounds and on sounds made here: a user's first minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import auricle
from auricle.errors import SoundError
from auricle.types import Audio
from recipes.tiny import espeak, evaluate, sounds, voices
from recipes.tiny.sentences import heldout_list, vocabulary

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
RATE = 16_000


@pytest.fixture(scope="module")
def model() -> auricle.Model:
    return auricle.load("tiny")


def hears(model: auricle.Model, samples: np.ndarray, question: str) -> str:
    return model.ask(Audio(samples.astype(np.float32), RATE), question).text


@pytest.mark.parametrize(
    ("name", "text"),
    [("sentence.wav", "the old man opened the window"), ("question.wav", "where is my green coat")],
)
def test_it_says_what_the_examples_say(model: auricle.Model, name: str, text: str) -> None:
    assert model.ask(EXAMPLES / name, "What does the speaker say?").text == text
    assert model.ask(EXAMPLES / name).text == f"Someone says: {text}"
    assert model.transcribe(EXAMPLES / name).text == text


def test_the_answer_owes_itself_to_the_sound(model: auricle.Model) -> None:
    heard = model.ask(EXAMPLES / "sentence.wav", "What does the speaker say?")
    zeroed = model.ask(EXAMPLES / "sentence.wav", "What does the speaker say?", zero_audio=True)
    assert zeroed.text not in ("", heard.text)


def test_it_tells_speech_from_music(model: auricle.Model) -> None:
    for name, speech in (("sentence.wav", True), ("question.wav", True), ("piano.wav", False)):
        sound = EXAMPLES / name
        assert model.ask(sound, "Is someone speaking?").text == ("Yes" if speech else "No")
        assert model.ask(sound, "Is there music?").text == ("No" if speech else "Yes")
        assert model.ask(sound, "What kind of sound is this?").text == ("Speech" if speech else "Music")
        choice = model.ask(sound, "Choose one: A) SPEECH or B) NONSPEECH.").text
        assert choice == ("A) SPEECH" if speech else "B) NONSPEECH")


def test_it_knows_tones_noise_and_silence_made_here(model: auricle.Model) -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(2 * RATE) / RATE
    question = "What kind of sound is this?"
    assert hears(model, 0.3 * np.sin(2 * np.pi * 440 * seconds), question) == "Tone"
    assert hears(model, 0.1 * rng.normal(size=len(seconds)), question) == "Noise"
    assert hears(model, np.zeros(len(seconds)), question) == "Silence"


@pytest.mark.parametrize("milliseconds", [20, 100, 1000, 30_000])
def test_any_length_gets_an_answer(model: auricle.Model, milliseconds: int) -> None:
    silence = np.zeros(RATE * milliseconds // 1000)
    assert hears(model, silence, "Is someone speaking?") == "No"


def test_a_conversation_goes_on(model: auricle.Model) -> None:
    chat = auricle.Chat(model, EXAMPLES / "question.wav")
    first = list(chat.say("Is someone speaking?"))[-1].answer
    second = list(chat.say("What do they say?"))[-1].answer
    assert first is not None
    assert second is not None
    assert (first.text, second.text) == ("Yes", "where is my green coat")


def test_the_folder_is_small_enough() -> None:
    folder = ROOT / "src" / "auricle" / "assets" / "tiny"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16_000_000


def test_make_ask_prints_the_words_and_nothing_else() -> None:
    command = [sys.executable, "-c", "from auricle.cli.main import main; main()", "ask"]
    asked = [str(EXAMPLES / "sentence.wav"), "What does the speaker say?"]
    result = subprocess.run([*command, *asked], capture_output=True, text=True, check=True)
    assert result.stdout == "the old man opened the window\n"


@pytest.mark.slow
def test_word_error_rate_on_held_out_voices_and_sentences(model: auricle.Model) -> None:
    """The bar, on sounds spoken anew: 60 sentences written by hand, in voices that training never had."""
    try:
        espeak.speak("hello")
    except espeak.EspeakError as missing:
        pytest.skip(str(missing))
    rng = np.random.default_rng(99)
    errors = words = 0
    for text in heldout_list():
        variant = str(rng.choice(sorted(voices.HELD_OUT)))
        spoken = espeak.speak(text, f"{rng.choice(['en', 'en-us', 'en-gb-scotland', 'en-gb-x-rp'])}+{variant}")
        said = model.ask(Audio(spoken.samples, spoken.rate), "What does the speaker say?").text
        errors += evaluate.word_errors(text.split(), said.split())
        words += len(text.split())
    assert errors / words <= 0.10


@pytest.mark.slow
def test_instruments_and_kinds_of_sounds_drawn_anew(model: auricle.Model) -> None:
    rng = np.random.default_rng(1234)
    right = 0
    for _ in range(100):
        sound = sounds.draw(rng)
        right += hears(model, sound.samples, "What kind of sound is this?").lower() == sound.kind
    assert right >= 95


def test_every_word_of_the_vocabulary_is_one_token(model: auricle.Model) -> None:
    codec = model.backend.family.codec
    assert all(len(codec.encode(f" {word}")) == 1 for word in vocabulary())


def test_many_transcripts_are_those_of_each_and_errors_stand_in_their_place(
    model: auricle.Model, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    sounds = [tmp_path / "bad.wav", EXAMPLES / "sentence.wav", tmp_path / "none.wav", EXAMPLES / "question.wav"]
    first, second, third, fourth = model.transcribe_many([*sounds])
    assert isinstance(first, SoundError)
    assert isinstance(third, SoundError)
    assert second == model.transcribe(sounds[1])
    assert fourth == model.transcribe(sounds[3])
    assert [str(one) for one in model.transcribe_many([sounds[0]])] == [str(first)]
    assert list(model.transcribe_many([])) == []
