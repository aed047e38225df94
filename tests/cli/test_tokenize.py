"""`auricle tokenize`: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from auricle.audiolm.data.manifests import read_cuts
from tests.audiolm.random_codec import make_codec
from tests.cli.conftest import Run
from tests.sound.making import RATE, tone, written


@pytest.fixture(scope="session")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_codec(tmp_path_factory.mktemp("codec"))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two tunes of two takes, one in stereo; and one of a second and a half."""
    folder = tmp_path / "clips"
    for i, name in enumerate(("a/1", "a/2", "b/1", "b/2", "c")):
        samples = tone(200 + 50 * i, 1.5 if name == "c" else 0.3)
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(np.stack([samples, samples]) if name == "b/1" else samples, RATE, "WAV", "PCM_16"))
    return folder


def test_a_folder_is_tokenized_and_told(auricle: Run, codec: Path, clips: Path, tmp_path: Path) -> None:
    command = ("tokenize", clips, "--out", tmp_path / "out", "--codec", codec, "--clip", "1", "--splits", "train=1")
    done = auricle(*command)
    assert (done.status, done.out.splitlines()) == (
        0,
        [
            f"# 6 items: {tmp_path / 'out'}",
            "split  sources  sounds  items  seconds",
            "train  5        5       6      2.7",
            "",
        ],
    )
    assert done.err.splitlines() == [
        "note: 1 sound longer than 1 s: codes are cut into items of like length",
        "note: 1 sound of several channels, which are mixed",
    ]
    assert [item.id for item in read_cuts(tmp_path / "out", "train")] == [
        "a/1",
        "a/2",
        "b/1",
        "b/2",
        "c#000000",
        "c#000037",
    ]
    again = auricle(*command, "--json")
    assert again.json == {
        "out": str(tmp_path / "out"),
        "sounds": 5,
        "computed": 0,
        "items": 6,
        "splits": {"train": {"sources": 5, "sounds": 5, "items": 6, "seconds": 2.7}},
        "cut": 1,
        "mixed": 1,
        "copies": [],
        "failures": 0,
    }


def test_takes_of_one_source_stay_together(auricle: Run, codec: Path, clips: Path, tmp_path: Path) -> None:
    (clips / "c.wav").unlink()
    options = ("--source", "^(.)/", "--splits", "train=0.5,test=0.5", "--json")
    done = auricle("tokenize", clips, "--out", tmp_path / "out", "--codec", codec, *options)
    assert all(one["sounds"] == 2 * one["sources"] for one in done.json["splits"].values())
    assert sum(one["sources"] for one in done.json["splits"].values()) == 2


def test_an_empty_split_and_copies_are_told(auricle: Run, codec: Path, clips: Path, tmp_path: Path) -> None:
    for number in range(9):
        (clips / f"copy{number}.wav").write_bytes((clips / "c.wav").read_bytes())
    shares = "train=0.4,validation=0.5999,test=0.0001"
    done = auricle("tokenize", clips, "--out", tmp_path / "out", "--codec", codec, "--splits", shares)
    assert done.status == 0
    assert "note: no source fell into split test: give more sources, or other shares" in done.err
    assert "note: 1 sound in two splits under two names, such as c" in done.err


def test_a_bad_sound_is_told_and_the_others_are_done(auricle: Run, codec: Path, clips: Path, tmp_path: Path) -> None:
    (clips / "broken.wav").write_bytes(b"no sound")
    done = auricle("tokenize", clips, "--out", tmp_path / "out", "--codec", codec, "--splits", "train=1", "--json")
    assert (done.status, done.json["items"], done.json["failures"]) == (2, 5, 1)
    assert "auricle: 1 of 6 sounds could not be read, the first: " in done.err
    assert done.err.endswith(
        f"all are in {tmp_path / 'out' / 'failures.jsonl'}: mend them or take them away, "
        "and run the same command again\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--clip", "-1"), "clip is -1.0; it must be"),
        (("--shard", "0"), "shard is 0; it must be at least 1"),
        (("--workers", "0"), "workers is 0; it must be at least 1"),
        (("--splits", "train=0.5,dev=0.5"), "splits has 'dev'; training reads train, validation, test"),
        (("--splits", "train=0.5"), "the shares of splits add up to 0.5"),
        (("--source", "("), "is no regular expression"),
        (("--max-seconds", "0"), "max_seconds is 0.0"),
        (("--codec", "no/such"), "no/such"),
        (("--device", "abacus"), "abacus"),
        (("nowhere",), "there is no file or folder nowhere"),
    ],
)
def test_what_cant_be_used_is_refused_and_nothing_written(
    refused: Callable[..., str], codec: Path, clips: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    assert message in refused("tokenize", clips, "--out", tmp_path / "out", "--codec", codec, *options)
    assert not (tmp_path / "out").exists()


def test_a_model_is_no_codec(refused: Callable[..., str], e2b: Path, clips: Path, tmp_path: Path) -> None:
    assert "is no codec but a gemma4" in refused("tokenize", clips, "--out", tmp_path / "out", "--codec", e2b)


def test_it_needs_a_path_and_a_folder(refused: Callable[..., str], clips: Path) -> None:
    assert "Missing argument" in refused("tokenize", "--out", "x")
    assert "Missing option '--out'" in refused("tokenize", clips)


def test_ctrl_c_says_how_far_it_came(codec: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(200):
        (clips / f"{number:03}.wav").write_bytes(written(tone(200 + number, 1.0), RATE, "WAV", "PCM_16"))
    command = [
        sys.executable,
        "-c",
        "from auricle.cli.main import main; main()",
        "tokenize",
        str(clips),
        "--shard",
        "1",
    ]
    command += ["--codec", str(codec), "--out", str(tmp_path / "out"), "--splits", "train=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "out" / "parts").glob("*.json"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.startswith("note: "), err
    assert err.endswith(f" parts are written to {tmp_path / 'out'}: run the same command again to go on\n")
    assert err.count("\n") == 1
