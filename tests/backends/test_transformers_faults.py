"""The `transformers` backend: what it refuses, what it can't load, and how an answer is given up."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import auricle.backends.transformers.library as library
import auricle.backends.transformers.loading as loading
from auricle.api import Model, load
from auricle.errors import (
    AuricleError,
    CheckpointError,
    DeadlineError,
    InputError,
    OptionError,
    PromptError,
    SoundError,
    UnsupportedError,
)
from auricle.types import Audio, CacheUse
from tests import audio_models
from tests.parity.sounds import babble, noise

SOUND = Audio(babble(16_000), 16_000, "babble")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = ("whisper", "wav2vec2", "labels", "flamingo")
    return {name: getattr(audio_models, f"make_{name}")(tmp_path_factory.mktemp(name)) for name in names}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, Model]:
    return {name: load(f"transformers:{folder}") for name, folder in folders.items()}


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        for file in folders[name].iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        return tmp_path

    return copy


def refusal(folder: Path, kind: type[AuricleError] = CheckpointError) -> str:
    """The one line that a folder is refused with."""
    with pytest.raises(kind) as caught:
        load(f"transformers:{folder}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what a model can't do


@pytest.mark.parametrize(
    ("name", "call", "expected"),
    [
        (
            "whisper",
            lambda m: m.ask(SOUND, "What?"),
            "only transcribes and can't be asked: choose an audio-text-to-text",
        ),
        ("wav2vec2", lambda m: m.ask(SOUND, "What?"), "only transcribes and can't be asked"),
        ("labels", lambda m: m.ask(SOUND, "What?"), "only classifies and can't be asked"),
        (
            "labels",
            lambda m: m.transcribe(SOUND),
            "only classifies and can't transcribe: choose a model such as Whisper",
        ),
        ("whisper", lambda m: m.classify(SOUND), "only transcribes and can't classify: choose a model with a class"),
        ("wav2vec2", lambda m: m.score(SOUND, ["a"], "What?"), "only transcribes and can't score answers"),
        ("labels", lambda m: m.score(SOUND, ["a"], "What?"), "only classifies and can't score answers"),
        ("flamingo", lambda m: m.listen("What?"), "can't listen live: a native model, such as tiny or google/gemma-4"),
        ("flamingo", lambda m: m.embed(SOUND), "can't be looked into: a native model"),
        ("flamingo", lambda m: m.hidden_states(SOUND), "can't be looked into: a native model"),
        ("flamingo", lambda m: m.ask(SOUND, "What?", zero_audio=True), "zero_audio looks into the model"),
        ("flamingo", lambda m: m.ask(SOUND, "What?", trace=True), "trace looks into the model"),
        ("whisper", lambda m: m.transcribe(SOUND, trace=True), "trace looks into the model"),
        ("labels", lambda m: m.classify(SOUND, zero_audio=True), "zero_audio looks into the model"),
        ("whisper", lambda m: m.transcribe(SOUND, regex="a*"), "can't be held to regex"),
        ("wav2vec2", lambda m: m.transcribe(SOUND, temperature=1.0), "can't sample or take stop strings"),
        ("flamingo", lambda m: m.classify(SOUND), "has no labels of its own: give some (labels)"),
    ],
)
def test_an_unsupported_call_says_what_the_model_does_and_what_can(
    models: dict[str, Model], name: str, call: Callable[[Model], Any], expected: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        call(models[name])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_model_without_sound_or_without_a_head_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("wav2vec2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["Wav2Vec2Model"]}))
    assert "is Wav2Vec2Model, which neither answers questions, nor transcribes" in refusal(folder, UnsupportedError)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    assert "is BertModel, which neither" in refusal(folder, UnsupportedError)


def test_a_model_that_hears_nothing_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("whisper")
    config = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "processor_config.json").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("processor_class")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "has no feature extractor for sound: it hears nothing" in refusal(folder, UnsupportedError)


def test_a_constraint_needs_a_tokenizer_it_can_read(copied: Callable[[str], Path]) -> None:
    folder = copied("flamingo")
    model = load(f"transformers:{folder}")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UnsupportedError, match=r"a constraint needs tokenizer\.json, which .* does not have"):
        model.ask(SOUND, "What?", regex="a")
    assert model.ask(SOUND, "What?", max_tokens=2).tokens


def test_nothing_is_cached(models: dict[str, Model]) -> None:
    models["flamingo"].ask(SOUND, "What?", max_tokens=1)
    assert models["flamingo"].cache == CacheUse(0, 0, 0, 0, 0, 0, 0, 0, 0)


# --- what can't be loaded


def test_missing_weights_are_named(copied: Callable[[str], Path]) -> None:
    folder = copied("whisper")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.decoder.layers.0.fc1.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    text = refusal(folder)
    assert "lacks model.decoder.layers.0.fc1.weight of WhisperForConditionalGeneration" in text
    for name in [name for name in tensors if name.startswith("model.encoder")]:
        del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert " more of WhisperForConditionalGeneration" in refusal(folder)


def test_left_over_and_misshapen_weights_are_named(copied: Callable[[str], Path]) -> None:
    folder = copied("labels")
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "extra": tensors["classifier.bias"].clone()}, folder / "model.safetensors")
    assert "has, and its config has no use for, extra of Wav2Vec2ForSequenceClassification" in refusal(folder)
    save_file({**tensors, "classifier.bias": tensors["classifier.bias"][:2].clone()}, folder / "model.safetensors")
    assert "has, in a shape that its config does not ask for, classifier.bias" in refusal(folder)


def test_what_only_training_uses_may_be_missing(copied: Callable[[str], Path], models: dict[str, Model]) -> None:
    folder = copied("wav2vec2")
    tensors = load_file(folder / "model.safetensors")
    del tensors["wav2vec2.masked_spec_embed"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(f"transformers:{folder}").transcribe(SOUND) == models["wav2vec2"].transcribe(SOUND)


def test_damaged_folders_are_one_line(copied: Callable[[str], Path]) -> None:
    folder = copied("flamingo")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-100])
    assert "is damaged" in refusal(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "tokenizer.json").write_text("{")
    assert "the processor of" in refusal(folder)
    (folder / "processor_config.json").unlink()
    refusal(folder, InputError)
    (folder / "config.json").write_text("{")
    assert "is not valid JSON" in refusal(folder)
    (folder / "config.json").unlink()
    assert "it has no config.json" in refusal(folder)


def test_a_native_model_without_the_processors_files_says_how_to_run_it() -> None:
    with pytest.raises(CheckpointError) as caught:
        load("transformers:tiny")
    assert "lacks the files of its image processor" in str(caught.value)
    assert str(caught.value).endswith('fetch the model again, or run it without "transformers:" in front')


def test_pickled_weights_are_not_read(copied: Callable[[str], Path]) -> None:
    folder = copied("whisper")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "has no model.safetensors" in refusal(folder)


def test_an_unknown_type_and_code_of_its_own_are_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("whisper")
    (folder / "config.json").write_text(json.dumps({"model_type": "ear9000"}))
    assert "knows no model type 'ear9000'" in refusal(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "ear9000", "auto_map": {"AutoConfig": "ear.Config"}}))
    assert "needs code of its own (trust_remote_code), which is never run here" in refusal(folder)


def test_a_family_that_needs_torchaudio_says_so(tmp_path: Path) -> None:
    if library.importlib.util.find_spec("torchaudio") is not None:
        pytest.skip("torchaudio is installed")
    folder = audio_models.make_granite(tmp_path)
    text = refusal(folder, InputError)
    assert text == f"{folder} needs torchaudio, which is not installed: pip install torchaudio"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ImportError("\nQwen2VLVideoProcessor requires the Torchvision library but it was not found in your"),
            "torchvision, which is not installed: pip install torchvision",
        ),
        (ModuleNotFoundError("No module named 'pyctcdecode'", name="pyctcdecode"), "pip install pyctcdecode"),
        (
            ImportError("X requires the PyAv library but ... X requires the torchaudio library but"),
            "pyav and torchaudio, which is not installed: pip install av torchaudio",
        ),
    ],
)
def test_missing_libraries_are_named(error: ImportError, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected), library.reading(tmp_path, "the processor"):
        raise error


def test_mistral_common_is_asked_for_before_its_prompts_leave_the_sound_out(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    folder = copied("flamingo")
    (folder / "tekken.json").write_text("{}")
    monkeypatch.setattr(transformers.utils, "is_mistral_common_available", lambda: False)
    assert "needs mistral-common, which is not installed or too old: pip install -U mistral-common" in refusal(
        folder, InputError
    )


def test_without_transformers_the_line_says_how_to_install_it(tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules["transformers"] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "transformers" else find(name, *rest)
import auricle
try:
    auricle.load("transformers:{tmp_path}")
except auricle.AuricleError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"InputError transformers:{tmp_path} needs the transformers library"), done.stderr
    assert done.stdout.endswith('not installed: pip install "auricle[transformers]"\n')


# --- what is heard


def test_sound_that_the_processor_drops_is_an_error(models: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    processor = models["flamingo"].backend.loaded.processor  # type: ignore[attr-defined]
    whole = processor.apply_chat_template

    def without_features(*arguments: Any, **options: Any) -> Any:
        inputs = whole(*arguments, **options)
        return {name: value for name, value in inputs.items() if not name.startswith("input_features")}

    monkeypatch.setattr(processor, "apply_chat_template", without_features)
    with pytest.raises(SoundError, match=r"babble was dropped by the model's processor .* gave no features of it"):
        models["flamingo"].ask(SOUND, "What?")


def test_a_template_without_a_place_for_sound_is_an_error(tmp_path: Path) -> None:
    deaf = "{% for m in messages %}{% for p in m['content'] %}{{ p['text'] }}{% endfor %}{% endfor %}"
    model = load(f"transformers:{audio_models.make_flamingo(tmp_path, template=deaf)}")
    with pytest.raises(AuricleError) as caught:
        model.ask(SOUND, "What?")
    assert isinstance(caught.value, PromptError | SoundError)
    assert "refuses these messages" in str(caught.value) or "dropped" in str(caught.value)


def test_a_model_without_a_template_reads_the_question_as_it_is_and_says_so(tmp_path: Path) -> None:
    model = load(f"transformers:{audio_models.make_flamingo(tmp_path, template=None)}")
    assert "has no chat template" in model.backend.notes[0]
    answer = model.ask(SOUND, "What?", max_tokens=3)
    assert answer.segments[0].tokens == 25
    assert answer.prompt_tokens == 25 + len("What?")


def test_what_does_not_fit_is_refused_with_both_numbers(tmp_path: Path) -> None:
    model = load(f"transformers:{audio_models.make_flamingo(tmp_path, max_position_embeddings=60)}")
    with pytest.raises(PromptError, match=r"the prompt has 7\d tokens and the model's context holds 60"):
        model.ask(SOUND, "What is said in it, word for word?")
    answer = model.ask(SOUND, "W?", max_tokens=100)
    assert answer.prompt_tokens + len(answer.tokens) <= 60


def test_a_control_token_in_a_text_is_refused(models: dict[str, Model]) -> None:
    with pytest.raises(PromptError, match="control token '<sound>'"):
        models["flamingo"].ask(SOUND, "What is <sound>?")
    with pytest.raises(PromptError, match="control token '<sound>'"):
        models["flamingo"].score(SOUND, ["a <sound>"], "What?")


def test_too_short_a_sound_is_refused_with_its_length(models: dict[str, Model]) -> None:
    short = Audio(noise(50), 16_000, "click")
    expected = r"click is too short: 50 samples \(0\.003 s\) are less than one frame"
    with pytest.raises(SoundError, match=expected):
        models["wav2vec2"].transcribe(short)
    with pytest.raises(SoundError, match=expected):
        models["labels"].classify(short)
    with pytest.raises(SoundError, match=r"click was dropped .*: it has 0\.003 s, which may be too short"):
        models["flamingo"].ask(short, "What?")


@pytest.mark.parametrize("choices", [[], "yes", ["yes", "yes"], ["yes", " "]])
def test_bad_choices(models: dict[str, Model], choices: Any) -> None:
    with pytest.raises(OptionError, match="choices"):
        models["flamingo"].score(SOUND, choices, "What?")


@pytest.mark.parametrize("labels", [[], "yes", ["yes", " "]])
def test_bad_labels(models: dict[str, Model], labels: Any) -> None:
    with pytest.raises(OptionError, match=r"labels (is|has)"):
        models["labels"].classify(SOUND, labels)


def test_bad_settings_are_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown dtype 'int4'"):
        load(f"transformers:{tmp_path}", dtype="int4")
    with pytest.raises(OptionError, match="threads is 0"):
        load(f"transformers:{tmp_path}", threads=0)


# --- giving up


@pytest.fixture
def slow(models: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pass of the flamingo takes 20 ms more, and is noted."""
    model = models["flamingo"].backend.loaded.model  # type: ignore[attr-defined]
    passes: list[float] = []
    forward = type(model).forward

    @functools.wraps(forward)  # whose signature `generate` reads
    def slower(self: Any, *arguments: Any, **options: Any) -> Any:
        time.sleep(0.02)
        passes.append(time.perf_counter())
        return forward(self, *arguments, **options)

    monkeypatch.setattr(type(model), "forward", slower)
    return passes


def generating() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "auricle-generate"]


def test_closing_a_stream_stops_the_generation(models: dict[str, Model], slow: list[float]) -> None:
    chunks = models["flamingo"].stream(SOUND, "What?", max_tokens=1000)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert not generating()
    done = len(slow)
    assert done < 100
    time.sleep(0.1)
    assert len(slow) == done
    assert models["flamingo"].ask(SOUND, "What?", max_tokens=2).tokens  # the next one has its turn


@pytest.mark.usefixtures("slow")
def test_a_deadline_ends_a_request(models: dict[str, Model]) -> None:
    begun = time.perf_counter()
    expected = r"not done within its 0\.1 s: give it more \(timeout_s\)"
    with pytest.raises(DeadlineError, match=expected):
        models["flamingo"].ask(SOUND, "What?", max_tokens=1000, timeout_s=0.1)
    with pytest.raises(DeadlineError, match=expected):
        models["flamingo"].score(SOUND, [str(number) for number in range(100)], "What?", timeout_s=0.1)
    assert time.perf_counter() - begun < 2
    assert not generating()


@pytest.mark.usefixtures("slow")
def test_a_request_that_waits_for_its_turn_has_a_deadline_too(models: dict[str, Model]) -> None:
    first = models["flamingo"].stream(SOUND, "What?", max_tokens=1000)
    next(first)
    with pytest.raises(DeadlineError):
        models["flamingo"].ask(SOUND, "What?", max_tokens=1, timeout_s=0.2)
    first.close()  # type: ignore[attr-defined]


def test_requests_from_several_threads_take_turns(models: dict[str, Model]) -> None:
    expected = models["flamingo"].ask(SOUND, "What?", max_tokens=8).tokens
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(models["flamingo"].ask(SOUND, "What?", max_tokens=8).tokens))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_a_failure_of_the_library_is_one_line_and_leaves_the_model_usable(
    models: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["flamingo"].backend.loaded.model  # type: ignore[attr-defined]

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of\nluck")

    with monkeypatch.context() as patched:
        patched.setattr(model, "generate", broken)
        with pytest.raises(AuricleError, match=r"transformers failed on this request \(RuntimeError: out of luck\)"):
            models["flamingo"].ask(SOUND, "What?")
    assert models["flamingo"].ask(SOUND, "What?", max_tokens=2).tokens


def test_the_longest_clip_is_what_the_processor_takes() -> None:
    class Spectrogram:
        sampling_rate, max_length = 16_000, 1024

    loaded = loading.Loaded("ast", Path(), None, None, Spectrogram(), None, None, "5.23")  # type: ignore[arg-type]
    assert loaded.clip_seconds == 10.24
