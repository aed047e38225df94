"""`auricle restyle`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from tests.audiolm.making.small import RATE, make_audiolm
from tests.cli.conftest import Run
from tests.sound.making import tone, written


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audiolm(tmp_path_factory.mktemp("models") / "lm")


@pytest.fixture
def sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    paths = tmp_path / "melody.wav", tmp_path / "organ.wav"
    for path, hertz in zip(paths, (220, 700), strict=True):
        path.write_bytes(written(tone(hertz, 1.0, RATE), RATE, "WAV", "PCM_16"))
    return paths


def test_in_the_manner_of_another(auricle: Run, sounds: tuple[Path, Path], lm: Path) -> None:
    melody, organ = sounds
    args = ("restyle", melody, "--like", organ, "--seconds", 0.5, "--model", lm, "--seed", 1, "--like-seconds", 0.4)
    done = auricle(*args, "--like-at", 0.2)
    assert done.status == 0, done
    assert done.out == "melody-restyled.wav: 1.500 s, new from 1.000 to 1.500 s of the whole, seed 1\n"
    assert f"note: followed is {organ} from 0.200 to 0.600 s\n" in done.err
    assert auricle(*args, "--like-at", 0.2, "--style-strength", 4, "--out", "strong.wav").status == 0
    weak, strong = (soundfile.read(name)[0] for name in ("melody-restyled.wav", "strong.wav"))
    assert (weak != strong).any()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--style-strength", "nan"), "style_strength is nan"),
        (("--style-strength", "2", "--guidance", "3"), "style_strength is 2 and guidance 3"),
        (("--style-strength", "1e308"), "style_strength is 1e+308; it must be a number from 0 to 100"),
        (("--like-at", "3"), "like_at is 3, and {organ} has 1.000 s"),
        (("--like-at", "1e308"), "like_at is 1e+308, and {organ} has 1.000 s"),
        (("--like-seconds", "2"), "like_seconds is 2; this model takes 1.2 s in one go, of which context and step"),
        (("--like-seconds", "1e308"), "like_seconds is 1e+308; this model takes 1.2 s"),
        (("--like-seconds", "0"), "like_seconds is 0.0"),
        (("--like", "none.wav"), "there is no file none.wav; check the path"),
        (("--seconds", "0"), "seconds is 0.0"),
    ],
)
def test_refused(
    refused: Callable[..., str], sounds: tuple[Path, Path], lm: Path, options: tuple[str, ...], told: str
) -> None:
    melody, organ = sounds
    line = refused("restyle", melody, "--like", organ, "--model", lm, "--like-seconds", 0.4, *options)
    assert told.format(organ=organ) in line
    assert sorted(path.name for path in Path().iterdir()) == ["melody.wav", "organ.wav"]


def test_an_excerpt_that_is_none_is_told_before_a_model_is_looked_for(
    refused: Callable[..., str], sounds: tuple[Path, Path]
) -> None:
    melody, organ = sounds
    assert "like_at is -1.0" in refused("restyle", melody, "--like", organ, "--like-at", "-1", "--model", "nowhere")


def test_stdin_once(refused: Callable[..., str], sounds: tuple[Path, Path], lm: Path) -> None:
    assert "given twice" in refused("restyle", "-", "--like", "-", "--model", lm)
