"""The `transformers` backend against transformers itself: the same tokens, text and probabilities for a sound."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers
from transformers.utils import is_mistral_common_available

from auricle.api import Model, load, transcription_prompt
from auricle.errors import OptionError
from auricle.types import Audio, Message
from tests import audio_models
from tests.parity.sounds import babble, noise, tone

SOUNDS = [Audio(babble(32_000), 16_000, "babble"), Audio(noise(16_001), 16_000, "noise"), Audio(tone(48_000), 16_000)]
needs_mistral = pytest.mark.skipif(
    not is_mistral_common_available(), reason="Voxtral's tokenizer is mistral-common's: pip install mistral-common"
)
ASKED = ["flamingo", pytest.param("voxtral", marks=needs_mistral)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Checkpoints, each made when it is first asked for."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = getattr(audio_models, f"make_{name}")(tmp_path_factory.mktemp(name))
        return made[name]

    return of


@pytest.fixture(scope="module")
def opened(folder: Callable[[str], Path]) -> Callable[[str], Model]:
    """Models, each loaded when it is first asked for."""
    loaded: dict[str, Model] = {}

    def of(name: str) -> Model:
        if name not in loaded:
            loaded[name] = load(f"transformers:{folder(name)}")
        return loaded[name]

    return of


# --- models that are asked


def conversation(sound: Audio, question: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "text", "text": question}, {"type": "audio", "audio": sound.samples}]}
    ]


def for_mistral(sound: Audio, question: str) -> list[dict[str, Any]]:
    file = io.BytesIO()
    soundfile.write(file, sound.samples, sound.rate, format="WAV", subtype="FLOAT")
    sent = {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()}
    return [{"role": "user", "content": [{"type": "text", "text": question}, sent]}]


def theirs(folder: Path, sound: Audio, question: str, max_tokens: int) -> tuple[list[int], list[int], str]:
    """The prompt's ids, the new ones, and their text, by transformers' documented way."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    kind = "Voxtral" if (folder / "tekken.json").exists() else "AudioFlamingo3"
    model = getattr(transformers, f"{kind}ForConditionalGeneration").from_pretrained(folder, dtype=torch.float32)
    written = for_mistral if kind == "Voxtral" else conversation
    inputs = processor.apply_chat_template(
        written(sound, question), tokenize=True, add_generation_prompt=True, return_dict=True
    )
    ids = inputs["input_ids"][0].tolist()
    new = model.generate(**inputs, do_sample=False, max_new_tokens=max_tokens)[0, len(ids) :].tolist()
    return ids, new, processor.tokenizer.decode(new, skip_special_tokens=True)


@pytest.mark.parametrize("name", ASKED)
def test_greedy_answers_are_transformers_own(name: str, folder: Any, opened: Any) -> None:
    answers = []
    for sound in SOUNDS:
        answer = opened(name).ask(sound, "What is said?", max_tokens=24)
        ids, new, text = theirs(folder(name), sound, "What is said?", 24)
        assert list(answer.tokens) == new
        assert answer.text == text.strip()
        assert answer.prompt_tokens == len(ids)
        answers.append(answer.tokens)
    assert len(set(answers)) > 1, "what is heard has to matter"


def test_the_audio_tokens_of_the_prompt_are_told(folder: Any, opened: Any) -> None:
    ids, _, _ = theirs(folder("flamingo"), SOUNDS[0], "What?", 1)
    placeholder = opened("flamingo").backend.prompts.placeholder
    (segment,) = opened("flamingo").ask(SOUNDS[0], "What?", max_tokens=1).segments
    assert segment.tokens == ids.count(placeholder) == 50
    assert (segment.source, segment.start_s, segment.end_s) == ("babble", 0.0, 2.0)


@needs_mistral
def test_voxtral_hears_several_clips(opened: Any) -> None:
    answer = opened("voxtral").ask(SOUNDS[:2], "Which is louder?", max_tokens=2)
    assert [(segment.source, segment.tokens) for segment in answer.segments] == [("babble", 375), ("noise", 375)]


@pytest.mark.parametrize("name", ASKED)
def test_a_stream_is_the_answer_in_pieces(name: str, opened: Any) -> None:
    *chunks, last = opened(name).stream(SOUNDS[1], "What?", max_tokens=16)
    answer = opened(name).ask(SOUNDS[1], "What?", max_tokens=16)
    assert len(chunks) > 3
    assert "".join(chunk.text for chunk in chunks).strip() == answer.text
    assert last.answer.tokens == answer.tokens


def test_a_conversation_goes_on(opened: Any) -> None:
    first = Message("user", ("What?", SOUNDS[0]))
    *_, last = opened("flamingo").chat([first, Message("assistant", ("A bell.",)), Message("user", ("Loud?",))])
    assert last.answer.prompt_tokens > opened("flamingo").ask(SOUNDS[0], "What?").prompt_tokens


def test_it_is_asked_to_transcribe_and_long_sound_is_cut_at_what_the_processor_takes(opened: Any) -> None:
    model = opened("flamingo")
    assert model.backend.max_clip_seconds == 600  # its max_audio_len: beyond, it would cut the end off
    transcript = model.transcribe(SOUNDS[0], max_tokens=8)
    assert transcript.text == model.ask(SOUNDS[0], transcription_prompt("English"), max_tokens=8).text


def test_a_stop_string_ends_the_answer_and_the_generation(opened: Any) -> None:
    free = opened("flamingo").ask(SOUNDS[1], "What?", max_tokens=20)
    stop = free.text[3:5]
    held = opened("flamingo").ask(SOUNDS[1], "What?", max_tokens=20, stop=(stop,))
    assert held.text == free.text[: free.text.index(stop)].strip()
    assert held.finish_reason == "stop"
    assert len(held.tokens) < len(free.tokens)
    assert held.notes == ()


def test_what_was_cut_is_told(opened: Any) -> None:
    answer = opened("flamingo").ask(SOUNDS[1], "What?", max_tokens=3)
    assert (answer.finish_reason, len(answer.tokens)) == ("length", 3)
    assert answer.notes == ("the answer was cut after 3 tokens (max_tokens)",)


def test_sampling_follows_its_seed_and_leaves_the_global_one_alone(opened: Any) -> None:
    def drawn(seed: int, **options: Any) -> tuple[int, ...]:
        asked = opened("flamingo").ask(SOUNDS[1], "What?", max_tokens=12, temperature=5.0, seed=seed, **options)
        return tuple(asked.tokens)

    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert drawn(1) == drawn(1) != drawn(2)
    assert torch.equal(torch.get_rng_state(), state)
    greedy = opened("flamingo").ask(SOUNDS[1], "What?", max_tokens=12).tokens
    assert drawn(1, top_k=1) == greedy
    assert drawn(1) != greedy


def test_a_repetition_penalty_is_transformers_own(folder: Any, opened: Any) -> None:
    penalised = opened("flamingo").ask(SOUNDS[1], "What?", max_tokens=12, repetition_penalty=1.5)
    processor = transformers.AutoProcessor.from_pretrained(folder("flamingo"))
    model = transformers.AudioFlamingo3ForConditionalGeneration.from_pretrained(folder("flamingo"))
    inputs = processor.apply_chat_template(
        conversation(SOUNDS[1], "What?"), tokenize=True, add_generation_prompt=True, return_dict=True
    )
    out = model.generate(**inputs, do_sample=False, max_new_tokens=12, repetition_penalty=1.5)
    assert list(penalised.tokens) == out[0, inputs["input_ids"].shape[1] :].tolist()
    assert penalised.tokens != opened("flamingo").ask(SOUNDS[1], "What?", max_tokens=12).tokens


@pytest.mark.parametrize("constraint", [{"choices": ("yes", "no")}, {"regex": "[0-9]{3}"}])
def test_answers_are_held_to_constraints(opened: Any, constraint: dict[str, Any]) -> None:
    answer = opened("flamingo").ask(SOUNDS[0], "Is it loud?", **constraint)
    assert answer.text in ("yes", "no") or (len(answer.text) == 3 and answer.text.isdigit())
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("name", ASKED)
def test_scores_are_the_likelihoods_of_whole_answers(name: str, folder: Any, opened: Any) -> None:
    scores = opened(name).score(SOUNDS[0], ["yes", "no", "yes no"], "Is it loud?")
    ids, _, _ = theirs(folder(name), SOUNDS[0], "Is it loud?", 1)
    backend = opened(name).backend
    inputs, _ = backend.prompts.inputs([Message("user", ("Is it loud?", SOUNDS[0]))])
    for score in scores.choices:
        assert backend.loaded.tokenizer.decode(list(score.tokens)) == score.choice
        longer = torch.tensor([[*ids, *score.tokens]])
        others = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            logits = backend.loaded.model(input_ids=longer, attention_mask=torch.ones_like(longer), **others).logits[0]
        logprobs = logits.double().log_softmax(-1)
        expected = sum(float(logprobs[len(ids) - 1 + i, token]) for i, token in enumerate(score.tokens))
        expected += float(logprobs[-1, sorted(backend.generator.stop_ids)].logsumexp(0))
        assert score.logprob == pytest.approx(expected, abs=1e-3)
    assert scores.prompt_tokens == len(ids)
    assert sum(scores.probabilities.values()) == pytest.approx(1)


def test_a_model_that_is_asked_classifies_among_labels_given(opened: Any) -> None:
    found = opened("flamingo").classify(SOUNDS[0], ["dog", "cat"], "Which animal?")
    assert found.asked is not None
    said = [f"{word}{end}" for word in ("dog", "DOG", "Dog", "cat", "CAT", "Cat") for end in ("", ".")]
    for order, named in zip(found.asked.orders, ("dog, cat", "cat, dog"), strict=True):
        assert order.prompt == f"Which animal? Answer with one of: {named}."
        scores = opened("flamingo").score(SOUNDS[0], said, order.prompt)
        logprobs = np.array([one.logprob for one in scores.choices]).reshape(2, 6)
        assert order.logprobs == pytest.approx(np.logaddexp.reduce(logprobs, axis=1), abs=1e-4)
    shares = np.exp(np.mean([order.logprobs for order in found.asked.orders], axis=0))
    assert [found.probabilities[name] for name in ("dog", "cat")] == pytest.approx(shares / shares.sum())
    assert [label.name for label in found.labels] == sorted(found.probabilities, key=lambda n: -found.probabilities[n])


def test_many_answers_keep_their_places(opened: Any, tmp_path: Path) -> None:
    asks = [(SOUNDS[0], "One?"), (str(tmp_path / "missing.wav"), "Two?"), (SOUNDS[1], "Three?")]
    first, second, third = opened("flamingo").ask_many(asks, max_tokens=4)
    assert first.tokens == opened("flamingo").ask(*asks[0], max_tokens=4).tokens
    assert "there is no file" in str(second)
    assert third.tokens == opened("flamingo").ask(*asks[2], max_tokens=4).tokens


# --- models that transcribe


def whisper_writes(folder: Path, sound: Audio, max_tokens: int, **options: Any) -> str:
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    inputs = processor(sound.samples, sampling_rate=16_000, return_tensors="pt")
    out = model.generate(**inputs, max_new_tokens=max_tokens, **options)
    text: str = processor.batch_decode(out, skip_special_tokens=True)[0]
    return text.strip()


@pytest.mark.parametrize(("language", "code"), [("English", "en"), ("German", "de"), ("fr", "fr")])
def test_whisper_writes_what_transformers_writes(folder: Any, opened: Any, language: str, code: str) -> None:
    written = set()
    for sound in SOUNDS:
        transcript = opened("whisper").transcribe(sound, language=language, max_tokens=20)
        expected = whisper_writes(folder("whisper"), sound, 20, language=code, task="transcribe")
        assert transcript.text == expected
        written.add(expected)
    assert len(written) > 1


def test_whispers_language_matters_and_has_to_be_known(opened: Any) -> None:
    german = opened("whisper").transcribe(SOUNDS[0], language="German", max_tokens=20)
    assert german != opened("whisper").transcribe(SOUNDS[0], max_tokens=20)
    with pytest.raises(OptionError, match="has no language 'Klingon' among its 3: german, english, french"):
        opened("whisper").transcribe(SOUNDS[0], language="Klingon")


def test_an_english_whisper_takes_no_other_language(tmp_path: Path) -> None:
    folder = audio_models.make_whisper(tmp_path, multilingual=False)
    model = load(f"transformers:{folder}")
    assert model.transcribe(SOUNDS[0], max_tokens=20).text == whisper_writes(folder, SOUNDS[0], 20)
    with pytest.raises(OptionError, match="knows English only, and language is 'German'"):
        model.transcribe(SOUNDS[0], language="German")


def test_whispers_answer_ends_where_its_context_does_and_says_so(opened: Any) -> None:
    transcript = opened("whisper").transcribe(SOUNDS[0], max_tokens=1000)
    if len(transcript.text) >= 60:  # of 64, of which 4 are its beginning
        assert "(the model's context is full)" in transcript.notes[0]
    assert len(transcript.text) <= 60


def test_long_sound_is_cut_at_pauses(opened: Any) -> None:
    quiet = np.zeros(16_000, dtype=np.float32)
    long = Audio(np.concatenate([babble(16_000 * 20), quiet, babble(16_000 * 20, seed=1)]), 16_000)
    segments = opened("whisper").transcribe(long, max_tokens=8).segments
    assert len(segments) == 2
    assert 19.9 < segments[0].end_s == segments[1].start_s < 21.1
    second = Audio(long.samples[round(segments[1].start_s * 16_000) :], 16_000)
    assert segments[1].text == opened("whisper").transcribe(second, max_tokens=8).text


def test_ctc_writes_what_transformers_writes(folder: Any, opened: Any) -> None:
    processor = transformers.AutoProcessor.from_pretrained(folder("wav2vec2"))
    model = transformers.Wav2Vec2ForCTC.from_pretrained(folder("wav2vec2"))
    for sound in SOUNDS:
        with torch.inference_mode():
            logits = model(**processor(sound.samples, sampling_rate=16_000, return_tensors="pt")).logits
        expected = processor.batch_decode(logits.argmax(-1))[0]
        assert opened("wav2vec2").transcribe(sound).text == expected.strip() != ""


def test_ctc_says_once_that_it_takes_no_language(opened: Any) -> None:
    long = Audio(babble(16_000 * 40), 16_000)
    assert len(opened("wav2vec2").transcribe(long).segments) == 2
    (note,) = opened("wav2vec2").transcribe(long, language="German").notes
    assert "takes no language: it writes what it was trained on, whether that is German or not" in note


# --- models with labels


@pytest.mark.parametrize("multiple", [False, True])
def test_labels_have_transformers_probabilities(tmp_path: Path, multiple: bool) -> None:
    folder = audio_models.make_labels(tmp_path, multiple=multiple)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    reference = transformers.AutoModelForAudioClassification.from_pretrained(folder)
    with torch.inference_mode():
        logits = reference(**extractor(SOUNDS[0].samples, sampling_rate=16_000, return_tensors="pt")).logits[0]
    shares = (logits.sigmoid() if multiple else logits.softmax(-1)).tolist()
    model = load(f"transformers:{folder}")
    found = model.classify(SOUNDS[0])
    assert found.probabilities == pytest.approx(dict(zip(audio_models.LABELS, shares, strict=True)), abs=1e-6)
    assert [label.probability for label in found.labels] == sorted(found.probabilities.values(), reverse=True)
    assert found.best == found.labels[0].name
    assert found.multiple is multiple
    some = model.classify(SOUNDS[0], ["rain", "dog"])
    assert some.probabilities == {name: found.probabilities[name] for name in ("rain", "dog")}
    with pytest.raises(OptionError, match="no label 'cat' among its 4: dog, music, rain, speech"):
        model.classify(SOUNDS[0], ["cat"])


def test_labels_of_long_sound_are_the_mean_over_its_pieces(opened: Any) -> None:
    long = Audio(np.concatenate([babble(16_000 * 25), np.zeros(8_000, np.float32), tone(16_000 * 10)]), 16_000)
    found = opened("labels").classify(long)
    first, second = found.segments
    parts = [Audio(long.samples[round(s.start_s * 16_000) : round(s.end_s * 16_000)], 16_000) for s in (first, second)]
    shares = [opened("labels").classify(part).probabilities for part in parts]
    weights = [part.seconds / long.seconds for part in parts]
    for name, probability in found.probabilities.items():
        expected = sum(weight * share[name] for weight, share in zip(weights, shares, strict=True))
        assert probability == pytest.approx(expected, abs=1e-5)
    assert any("cut at pauses into 2 clips" in note for note in found.notes)
    assert "the probabilities are the mean over these clips" in found.notes
