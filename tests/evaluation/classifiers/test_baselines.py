"""Silero and energy: no memory from clip to clip, no thread taken away, the same alone and among others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.errors import OptionError, SoundError
from auricle.evaluation.classifiers import Classified
from auricle.evaluation.classifiers.energy import Energy
from auricle.evaluation.classifiers.silero import Silero
from auricle.sound.decode import decode
from auricle.types import Audio

EXAMPLES = Path(__file__).parents[3] / "examples"
LABELS = ("speech", "nonspeech")
RATE = 16_000


def noise(seconds: float, level: float = 0.01, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio((level * rng.standard_normal(round(seconds * RATE))).astype(np.float32), RATE)


def sentence() -> Audio:
    return decode(EXAMPLES / "sentence.wav")


def one(found: list[Classified | Exception]) -> Classified:
    (answer,) = found
    assert isinstance(answer, Classified)
    return answer


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero(LABELS)


def test_it_tells_speech_from_noise(silero: Silero) -> None:
    speech, hiss = silero.classify([sentence(), noise(1.0)])
    assert isinstance(speech, Classified)
    assert isinstance(hiss, Classified)
    assert (speech.label, hiss.label) == LABELS
    assert speech.probabilities is not None
    assert speech.probabilities[0] > 0.9
    assert sum(speech.probabilities) == pytest.approx(1)


def test_the_score_is_the_highest_of_the_frames(silero: Silero) -> None:
    found = one(silero.classify([sentence()]))  # type: ignore[arg-type]
    assert found.logits is not None
    assert found.probabilities is not None
    most, mean, share = found.logits
    assert found.probabilities[0] == most
    assert 0 < mean < most
    assert 0 < share <= 1


def test_frames_are_those_of_the_model_called_by_hand(silero: Silero) -> None:
    samples = torch.from_numpy(sentence().samples)
    samples = torch.nn.functional.pad(samples, (0, -len(samples) % 512))
    silero._model.reset_states()
    by_hand = [silero._model(frame, RATE).item() for frame in samples.split(512)]
    found = one(silero.classify([sentence()]))  # type: ignore[arg-type]
    assert found.logits is not None
    assert found.logits[:2] == pytest.approx((max(by_hand), float(np.mean(by_hand))), abs=1e-5)


def test_nothing_is_remembered_from_clip_to_clip(silero: Silero) -> None:
    hiss = noise(0.2, 0.05, seed=3)
    fresh = one(Silero(LABELS).classify([hiss]))  # type: ignore[arg-type]
    silero.classify([sentence()])
    after = one(silero.classify([hiss]))  # type: ignore[arg-type]
    assert after.logits == fresh.logits


def test_a_batch_gives_what_each_gives_alone(silero: Silero) -> None:
    sounds = [noise(0.02), sentence(), noise(1.3, 0.1), Audio(sentence().samples[4000:7000], RATE), noise(0.5)]
    together = silero.classify(sounds)
    for sound, among in zip(sounds, together, strict=True):
        alone = one(silero.classify([sound]))  # type: ignore[arg-type]
        assert isinstance(among, Classified)
        assert among.label == alone.label
        assert among.logits == pytest.approx(alone.logits, abs=1e-5)


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Silero(LABELS).classify([noise(0.1)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_another_rate_is_resampled(silero: Silero) -> None:
    sound = decode(EXAMPLES / "sentence.wav", rate=44_100)
    assert one(silero.classify([sound])).label == "speech"  # type: ignore[arg-type]


def test_a_sound_that_is_none_is_an_error_in_its_place(silero: Silero) -> None:
    empty = Audio(np.empty(0, np.float32), RATE, "nothing")
    first, second = silero.classify([empty, sentence()])
    assert isinstance(first, SoundError)
    assert isinstance(second, Classified)
    assert silero.classify([]) == []


def test_energy_rises_with_the_level_and_not_with_the_container() -> None:
    energy = Energy(LABELS)
    levels = [one(energy.classify([noise(0.5, level)])).logits for level in (0.001, 0.01, 0.1)]  # type: ignore[arg-type]
    assert [level for (level,) in levels] == pytest.approx([-60, -40, -20], abs=0.5)  # type: ignore[misc]
    short = noise(0.02, 0.1).samples
    padded = np.zeros(2 * RATE, np.float32)
    padded[1000 : 1000 + len(short)] = short
    (alone,), (inside,) = (one(energy.classify([Audio(s, RATE)])).logits for s in (short, padded))  # type: ignore[arg-type,misc]
    assert inside == pytest.approx(alone, abs=2.0)  # by whole frames; over the container it would be 20 dB
    assert one(energy.classify([Audio(padded * 0, RATE)])).logits == (-100.0,)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Silero, Energy])
def test_speech_is_the_first_of_two_labels(kind: type[Silero] | type[Energy]) -> None:
    with pytest.raises(OptionError, match="name speech first"):
        kind(("noise", "Speech"))
    with pytest.raises(OptionError, match="labels has 3"):
        kind(("speech", "music", "noise"))
