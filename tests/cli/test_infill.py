"""`auricle infill`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.audiolm.making.small import RATE, make_audiolm
from tests.cli.conftest import Run
from tests.sound.making import tone, written


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audiolm(tmp_path_factory.mktemp("models") / "lm")


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seconds, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "song.wav"
    path.write_bytes(written(tone(220, 2.0, RATE), RATE, "WAV", "PCM_16"))
    return path


def test_a_gap_is_filled(auricle: Run, song: Path, lm: Path) -> None:
    done = auricle("infill", song, "--gap", "0.5:0.9", "--model", lm, "--seed", 1, "--picture", "song.png")
    assert (done.status, done.err) == (0, ""), done
    assert done.out == "song-filled.wav: 2.000 s, new from 0.500 to 0.900 s of the whole, seed 1\n"
    before, after = (soundfile.read(name, dtype="int16")[0] for name in ("song.wav", "song-filled.wav"))
    first, end = round(0.47 * RATE), round(0.93 * RATE)
    np.testing.assert_array_equal(after[:first], before[:first])
    np.testing.assert_array_equal(after[end:], before[end:])
    assert (after[first:end] != before[first:end]).mean() > 0.9
    assert Path("song.png").stat().st_size > 5000
    blind = auricle(
        "infill", song, "--gap", "0.5:0.9", "--model", lm, "--seed", 1, "--from-left-only", "--out", "b.wav"
    )
    assert blind.status == 0
    assert Path("b.wav").read_bytes() != Path("song-filled.wav").read_bytes()


def test_tries(auricle: Run, song: Path, lm: Path) -> None:
    call = ("infill", song, "--gap", "0.5:0.9", "--model", lm, "--seed", 1)
    for tries in (1, 2, 16):
        assert auricle(*call, "--tries", tries, "--out", f"{tries}.wav").status == 0
    assert auricle(*call, "--out", "usual.wav").status == 0
    sounds = [Path(f"{name}.wav").read_bytes() for name in (1, 2, 16, "usual")]
    assert len(set(sounds)) == 3
    assert sounds[2] == sounds[3]
    alike = auricle(*call, "--tries", 2, "--temperature", 0, "--out", "alike.wav")
    assert alike.err == "note: one try is made instead of 2: they would be alike at temperature 0\n"


def test_tries_that_are_none(refused: Callable[..., str], song: Path, lm: Path) -> None:
    told = refused("infill", song, "--gap", "0.5:0.9", "--model", lm, "--tries", 65)
    assert "tries is 65; it must be a whole number from 1 to 64" in told
    told = refused("infill", song, "--gap", "0.5:0.9", "--model", lm, "--tries", 2, "--from-left-only")
    assert "from_left_only does not hear it: drop one" in told


def test_a_long_gap_is_said(auricle: Run, song: Path, lm: Path) -> None:
    done = auricle("infill", song, "--gap", "0.3:1.8", "--model", lm, "--json")
    assert done.json["notes"][0].startswith("the gap is longer than what is filled in one go: its first ")
    assert done.json["seams_s"] == [0.3, 1.8]


@pytest.mark.parametrize(
    ("gap", "told"),
    [
        ("0.5", "gap is '0.5'; it must be FROM:TO in seconds, such as 2.0:3.5"),
        ("a:b", "gap is 'a:b'"),
        ("1:0.5", "gap is 1:0.5; it must be FROM:TO in seconds, from 0, and FROM before TO"),
        ("nan:1", "gap is nan:1"),
        ("1:1", "gap is 1:1"),
        ("1:5", "and {song} has 2.000 s: it must lie in it"),
        ("0:2", "leave something to go on from"),
        ("0:1e9", "gap is 0:1e+09, and {song} has 2.000 s: it must lie in it"),
    ],
)
def test_gaps_that_are_none(refused: Callable[..., str], song: Path, lm: Path, gap: str, told: str) -> None:
    assert told.format(song=song) in refused("infill", song, "--gap", gap, "--model", lm)
    assert [path.name for path in Path().iterdir()] == ["song.wav"]


def test_one_gap_at_a_time(refused: Callable[..., str], song: Path) -> None:
    told = refused("infill", song, "--gap", "0.2:0.4", "--gap", "1:1.2")
    assert "there are 2 gaps; one is filled at a time: fill the next in what comes out" in told


def test_without_a_gap(refused: Callable[..., str], song: Path) -> None:
    assert "--gap" in refused("infill", song)
