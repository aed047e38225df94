"""When somebody stops speaking: by energy always, and by Silero where it is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auricle.errors import OptionError
from auricle.sound import endpoint, silero
from auricle.sound.decode import decode
from auricle.sound.endpoint import Detector, open_detector
from tests.sound.making import RATE, tone

EXAMPLES = Path(__file__).parents[2] / "examples"
NO_SILERO = importlib.util.find_spec("silero_vad") is None
KINDS = ["energy", pytest.param("silero", marks=pytest.mark.skipif(NO_SILERO, reason="no silero-vad"))]
PAUSE_S = 0.8


def spoken(name: str) -> NDArray[np.float32]:
    """A sentence without the silence around it."""
    samples = decode(EXAMPLES / f"{name}.wav").samples
    heard = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[heard[0] : heard[-1] + 1]


SENTENCE = spoken("sentence")  # 1.5 s
QUESTION = spoken("question")


def noise(seconds: float, decibels: float, seed: int = 0) -> NDArray[np.float32]:
    """White noise of a level relative to full scale."""
    values = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (10 ** (decibels / 20) * values).astype(np.float32)


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


def in_noise(samples: NDArray[np.float32], snr: float) -> NDArray[np.float32]:
    """With white noise over all of it; the ratio is to the sentence, not to the silence around it."""
    level = 10 * np.log10(np.mean(SENTENCE.astype(np.float64) ** 2)) - snr
    return samples + noise(len(samples) / RATE, level)


def noticed_after(samples: NDArray[np.float32], kind: str, pause_s: float = PAUSE_S) -> float | None:
    """When a silence of this length was there for the first time after speech, in seconds; asked every 20 ms."""
    detector = open_detector(kind)  # type: ignore[arg-type]
    for start in range(0, len(samples), 320):
        detector.take(samples[start : start + 320])
        if detector.spoken and detector.silence_s >= pause_s:
            return detector.seconds
    return None


def after(samples: NDArray[np.float32], kind: str) -> Detector:
    detector = open_detector(kind)  # type: ignore[arg-type]
    detector.take(samples)
    return detector


# Both


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("snr", [None, 40, 10])
@pytest.mark.parametrize("lead", [0.0, 1.0])
@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_the_end_of_a_sentence(kind: str, snr: float | None, lead: float, gain: float) -> None:
    """Clean or in noise, loud or soft, after silence or at once."""
    samples = np.concatenate((silence(lead), SENTENCE, silence(2)))
    samples = gain * (samples if snr is None else in_noise(samples, snr)).astype(np.float32)
    noticed = noticed_after(samples, kind)
    assert noticed is not None
    assert noticed - (lead + len(SENTENCE) / RATE) == pytest.approx(PAUSE_S, abs=0.3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("snr", [None, 10])
def test_nothing_is_noticed_while_somebody_speaks(kind: str, snr: float | None) -> None:
    """For a minute without a pause of more than the gap between two sentences."""
    samples = np.tile(np.concatenate((SENTENCE, silence(0.1), QUESTION, silence(0.1))), 22)
    assert len(samples) > 55 * RATE
    samples = samples if snr is None else in_noise(samples, snr)
    assert noticed_after(samples, kind) is None
    assert after(samples, kind).spoken


@pytest.mark.parametrize("kind", KINDS)
def test_a_pause_shorter_than_asked_for_is_no_end(kind: str) -> None:
    samples = in_noise(np.concatenate((SENTENCE, silence(0.6), QUESTION, silence(2))), 30)
    noticed = noticed_after(samples, kind)
    assert noticed is not None
    assert noticed > (len(SENTENCE) + len(QUESTION)) / RATE + 0.6
    noticed = noticed_after(samples, kind, pause_s=0.4)
    assert noticed is not None
    assert noticed < len(SENTENCE) / RATE + 0.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "samples",
    [
        silence(10),
        noise(10, -20),
        noise(10, -70),
        np.round(noise(10, -93) * 2**15) / np.float32(2**15),  # the last bit of 16
        np.concatenate((silence(0.3), noise(10, -40))),  # a microphone that begins with zeros
        tone(seconds=10),
        tone(50, seconds=10) + noise(10, -40),
    ],
    ids=["zeros", "noise", "soft noise", "one bit", "zeros, then noise", "tone", "hum"],
)
def test_what_is_steady_is_no_speech(kind: str, samples: NDArray[np.float32]) -> None:
    detector = after(samples.astype(np.float32), kind)
    assert not detector.spoken
    assert detector.silence_s == pytest.approx(len(samples) / RATE, abs=0.04)
    assert detector.seconds == len(samples) / RATE


@pytest.mark.parametrize("kind", KINDS)
def test_a_click_is_no_speech(kind: str) -> None:
    samples = noise(5, -60)
    samples[2 * RATE : 2 * RATE + 80] = 0.9
    assert not after(samples, kind).spoken
    samples = in_noise(np.concatenate((SENTENCE, silence(2))), 40)
    click = len(SENTENCE) + RATE // 2
    samples[click : click + 80] += 0.5
    assert noticed_after(samples, kind) == pytest.approx(len(SENTENCE) / RATE + PAUSE_S, abs=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_any_size_mean_the_same(kind: str) -> None:
    samples = in_noise(np.concatenate((silence(0.5), SENTENCE, silence(0.7))), 20)
    whole = after(samples, kind)

    @settings(deadline=None, max_examples=5)
    @given(st.lists(st.integers(0, 5000), min_size=1, max_size=5).filter(any))
    def same(sizes: list[int]) -> None:
        detector = open_detector(kind)  # type: ignore[arg-type]
        ends = np.cumsum(sizes * (len(samples) // sum(sizes) + 1))
        for piece in np.split(samples, ends[ends < len(samples)]):
            detector.take(piece)
        assert (detector.seconds, detector.spoken) == (whole.seconds, whole.spoken)
        assert detector.silence_s == whole.silence_s

    same()


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_at_the_start(kind: str) -> None:
    detector = open_detector(kind)  # type: ignore[arg-type]
    assert (detector.name, detector.seconds, detector.spoken, detector.silence_s) == (kind, 0.0, False, 0.0)
    detector.take(silence(0))
    detector.take(silence(0.001))
    assert (detector.seconds, detector.silence_s) == (0.001, 0.0)  # no whole frame yet


# By energy


def test_one_word_said_at_once() -> None:
    """The noise is known only after it: what stood out is found when it is over."""
    word = SENTENCE[: RATE // 3]
    for rest in (silence(1), noise(1, -60)):
        detector = after(np.concatenate((word, rest)), "energy")
        assert detector.spoken
        assert detector.silence_s == pytest.approx(1.0, abs=0.1)


def test_silence_does_not_grow_while_something_may_be_speech() -> None:
    """Else a pause of nearly the length asked for would end a sentence that has just gone on."""
    before = in_noise(np.concatenate((SENTENCE, silence(0.5))), 40)
    loud = np.concatenate((before, SENTENCE[RATE // 2 :][: RATE // 20]))  # 50 ms are no speech yet
    assert after(loud, "energy").silence_s == pytest.approx(after(before, "energy").silence_s, abs=0.02)


def test_a_slammed_door_does_not_make_deaf() -> None:
    samples = in_noise(np.concatenate((silence(1), 0.1 * SENTENCE, silence(2))), 60)
    samples[: RATE // 50] = np.sign(samples[: RATE // 50])
    noticed = noticed_after(samples, "energy")
    assert noticed is not None
    assert noticed - 1 - len(SENTENCE) / RATE == pytest.approx(PAUSE_S, abs=0.25)


def test_noise_that_begins_is_known_after_six_seconds() -> None:
    samples = np.concatenate((noise(3, -70), noise(9, -40)))
    assert after(samples[: 8 * RATE], "energy").silence_s == 0
    assert after(samples, "energy").silence_s > 2


def test_what_it_keeps_does_not_grow() -> None:
    detector = endpoint.EnergyDetector()
    detector.take(in_noise(np.tile(SENTENCE, 10), 20))
    kept = len(detector._levels.past), len(detector._levels._powers), len(detector._rest)
    assert kept[0] == 600
    detector.take(in_noise(np.tile(SENTENCE, 10), 20)[: 160 * 90])
    assert (len(detector._levels.past), len(detector._levels._powers), len(detector._rest)) == kept


# By Silero


@pytest.mark.skipif(NO_SILERO, reason="no silero-vad")
@pytest.mark.filterwarnings("ignore:`torch.jit.load`:DeprecationWarning")
def test_silero_as_its_own_wrapper_has_it() -> None:
    """The same file, fed by hand."""
    import torch

    (folder,) = importlib.util.find_spec("silero_vad").submodule_search_locations  # type: ignore[union-attr]
    model = torch.jit.load(Path(folder) / "data" / "silero_vad.jit")
    detector = open_detector("silero")
    assert isinstance(detector, endpoint.SileroDetector)
    with torch.no_grad():
        for frame in SENTENCE[: len(SENTENCE) // 512 * 512].reshape(-1, 512):
            expected = model(torch.from_numpy(frame), RATE).item()
            assert detector._judge(frame) == (expected >= 0.5, expected >= 0.35)


@pytest.mark.skipif(NO_SILERO, reason="no silero-vad")
def test_silero_leaves_torch_as_it_is() -> None:
    """In a process of its own: the package sets the threads as soon as it is imported."""
    code = (
        "import sys, torch; from auricle.sound.endpoint import open_detector; torch.set_num_threads(3);"
        "open_detector('silero'); print(torch.get_num_threads(), 'silero_vad' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3 False\n", "")


# Which one


def test_importing_loads_no_torch() -> None:
    modules = "auricle.sound.live, auricle.sound.microphone, auricle.sound.endpoint"
    code = f"import sys, {modules}; auricle.sound.endpoint.open_detector('energy'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_auto_is_silero_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_detector().name == ("energy" if NO_SILERO else "silero")
    monkeypatch.setattr(silero, "find_spec", lambda _: None)
    assert open_detector("auto").name == "energy"


def test_silero_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "find_spec", lambda _: None)
    with pytest.raises(OptionError) as caught:
        open_detector("silero")
    assert str(caught.value) == ('vad is silero, which is not installed: pip install "auricle[live]", or choose energy')


@pytest.mark.parametrize("kind", ["auto", "silero"])
def test_silero_without_its_model(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not quietly the other one."""
    spec = ModuleSpec("silero_vad", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(silero, "find_spec", lambda _: spec)
    with pytest.raises(
        OptionError, match=r"^silero-vad is installed without data/silero_vad.jit; install 6.2 or newer"
    ):
        open_detector(kind)  # type: ignore[arg-type]
