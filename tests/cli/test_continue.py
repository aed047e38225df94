"""`auricle continue`, and what it shares with `infill` and `restyle`: files, stdout, loudspeaker, pictures, notes."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from auricle.audiolm.making import Made, Making
from auricle.audiolm.making.job import Making as Job
from auricle.audiolm.model.sampling import TokenSampling
from auricle.cli import making as making_module
from auricle.cli.main import run
from auricle.cli.making_options import Tokens
from auricle.sound.decode import decode
from tests.audiolm.making.small import RATE, make_audiolm
from tests.cli.conftest import Run
from tests.sound.making import tone, written

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audiolm(tmp_path_factory.mktemp("models") / "lm")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def melody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One second, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "melody.wav"
    path.write_bytes(written(tone(220, 1.0, RATE), RATE, "WAV", "PCM_16"))
    return path


def test_a_file_beside_nothing(auricle: Run, melody: Path, lm: Path) -> None:
    done = auricle("continue", melody, "--model", lm, "--seconds", 1, "--seed", 4)
    assert done.status == 0, done
    assert done.err == f"note: of the 1.00 s of {melody} the model hears the last 0.48\n"
    assert done.out == "melody-continued.wav: 2.000 s, new from 1.000 to 2.000 s of the whole, seed 4\n"
    samples, rate = soundfile.read("melody-continued.wav", dtype="int16")
    assert (rate, len(samples)) == (RATE, 2 * RATE)
    before, _ = soundfile.read(melody, dtype="int16")
    kept = RATE - round(0.03 * RATE)
    np.testing.assert_array_equal(samples[:kept], before[:kept])
    assert sorted(path.name for path in Path().iterdir()) == ["melody-continued.wav", "melody.wav"]


def test_formats_and_seeds(auricle: Run, melody: Path, lm: Path) -> None:
    args = ("continue", melody, "--model", lm, "--seconds", 0.5, "--seed", 1)
    for name, bits in (("a.wav", "float"), ("b.flac", "24"), ("c.wav", "24"), ("d.flac", "16")):
        assert auricle(*args, "--out", name, "--bits", bits).status == 0
    sounds = [soundfile.read(name)[0] for name in ("a.wav", "b.flac", "c.wav", "d.flac")]
    for one, step in zip(sounds, (0, 2**-23, 2**-23, 2**-15), strict=True):
        np.testing.assert_allclose(one, sounds[0], atol=step)
    assert soundfile.info("b.flac").subtype == "PCM_24"


def test_json(auricle: Run, melody: Path, lm: Path) -> None:
    record = auricle("continue", melody, "--model", lm, "--seconds", 0.5, "--json").json
    assert record["out"] == "melody-continued.wav"
    assert (record["seconds"], record["new_s"], record["seams_s"]) == (1.5, [1.0, 1.5], [1.0])
    assert (record["rate"], record["model"]) == (RATE, str(lm))
    assert record["timings"]["total_s"] > 0
    assert record["notes"] == ["of the 1.00 s of " + str(melody) + " the model hears the last 0.48"]
    again = auricle("continue", melody, "--model", lm, "--seconds", 0.5, "--out", "again.wav", "--seed", record["seed"])
    assert again.status == 0
    assert Path("again.wav").read_bytes() == Path("melody-continued.wav").read_bytes()


def test_variants(auricle: Run, melody: Path, lm: Path) -> None:
    args = ("continue", melody, "--model", lm, "--seconds", 0.5)
    done = auricle(*args, "--count", 2, "--seed", 8, "--only-new", "--picture", "v.png", "--json")
    assert [record["seed"] for record in done.json_lines] == [8, 9]
    names = [f"melody-continued-{number}.wav" for number in (1, 2)]
    assert [record["out"] for record in done.json_lines] == names
    assert len({Path(name).read_bytes() for name in names}) == 2
    assert [len(soundfile.read(name)[0]) for name in names] == [RATE // 2] * 2
    assert all(Path(f"v-{number}.png").stat().st_size > 5000 for number in (1, 2))
    assert auricle(*args, "--seed", 9, "--only-new", "--out", "alone.wav").status == 0
    np.testing.assert_allclose(soundfile.read("alone.wav")[0], soundfile.read(names[1])[0], atol=2 / 32768)


def test_variants_that_are_alike(auricle: Run, melody: Path, lm: Path) -> None:
    args = ("continue", melody, "--model", lm, "--seconds", 0.1, "--temperature", 0)
    told = "note: the 2 variants are alike: at temperature 0 nothing is drawn\n"
    assert auricle(*args, "--count", 2).err.count(told) == 2
    assert told not in auricle(*args).err


def test_timings_on_request(auricle: Run, melody: Path, lm: Path) -> None:
    done = auricle("continue", melody, "--model", lm, "--seconds", 0.5, "--timings", "--step", 0.2)
    assert "times real time" in done.err
    assert "first new sound after" in done.err


class TestStdout:
    def streamed(self, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> bytes:
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run(["continue", *map(str, arguments), "--out", "-"]) == 0
        return stdout.buffer.getvalue()  # type: ignore[attr-defined]

    def test_a_wav_and_raw_samples(
        self,
        auricle: Run,
        melody: Path,
        lm: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        args = (melody, "--model", lm, "--seconds", 0.5, "--seed", 3)
        assert auricle("continue", *args, "--out", "f.wav").status == 0
        heard = decode(self.streamed(monkeypatch, *args), rate=RATE)
        np.testing.assert_array_equal(heard.samples, decode("f.wav", rate=RATE).samples)
        assert "note: stdout: 1.500 s, new from 1.000 to 1.500 s of the whole, seed 3" in capsys.readouterr().err
        raw = self.streamed(monkeypatch, *args, "--raw", "--bits", "float", "--only-new")
        assert auricle("continue", *args, "--out", "g.wav", "--bits", "float", "--only-new").status == 0
        np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), decode("g.wav", rate=RATE).samples)

    def test_from_stdin(self, auricle: Run, melody: Path, lm: Path) -> None:
        done = auricle("continue", "-", "--model", lm, "--seconds", 0.5, stdin=melody.read_bytes())
        assert done.out.startswith("stdin-continued.wav: 1.500 s")

    def test_from_a_stdin_that_is_not_there(
        self, melody: Path, lm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        assert run(["continue", "-", "--model", str(lm)]) == 2
        told = capsys.readouterr().err
        assert "nothing is piped in: write < clip.wav behind the command" in told
        assert "ask" not in told, "the command's name is another"

    def test_not_to_a_terminal_nor_with_json(self, refused: Refused, melody: Path, lm: Path, tty: None) -> None:
        assert "which is a terminal" in refused("continue", melody, "--model", lm, "--out", "-")
        assert "both write to stdout" in refused("continue", melody, "--model", lm, "--out", "-", "--json")

    @pytest.fixture
    def tty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(making_module.show, "is_terminal", lambda stream: stream is sys.stdout)


class TestPlay:
    @pytest.fixture
    def speaker(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        told = SimpleNamespace(played=[], waited=False, notes=("it had to wait",), opened=None)
        told.play = told.played.append
        told.wait = lambda: setattr(told, "waited", True)

        @contextmanager
        def opened(rate: int, device: str | None = None) -> Iterator[SimpleNamespace]:
            told.opened = (rate, device)
            yield told

        monkeypatch.setattr(making_module, "open_speaker", opened)
        return told

    def test_it_is_heard_and_no_file_is_written(
        self, auricle: Run, melody: Path, lm: Path, speaker: SimpleNamespace
    ) -> None:
        args = ("continue", melody, "--model", lm, "--seconds", 1, "--seed", 1, "--step", 0.3)
        done = auricle(*args, "--play", "--output-device", "USB")
        assert done.status == 0, done
        assert done.out.startswith("played: 2.000 s")
        assert "note: it had to wait\n" in done.err
        assert speaker.waited
        assert speaker.opened == (RATE, "USB")
        assert len(speaker.played) > 4, "piece by piece"
        assert [path.name for path in Path().iterdir()] == ["melody.wav"]
        assert auricle(*args, "--out", "f.wav").status == 0
        played = np.concatenate(speaker.played)
        np.testing.assert_allclose(played, soundfile.read("f.wav")[0], atol=1 / 32768)

    def test_a_file_too_where_one_is_named(
        self, auricle: Run, melody: Path, lm: Path, speaker: SimpleNamespace
    ) -> None:
        assert auricle("continue", melody, "--model", lm, "--seconds", 0.5, "--play", "--out", "f.flac").status == 0
        assert Path("f.flac").exists()
        assert speaker.waited

    def test_without_a_loudspeaker(
        self, refused: Refused, melody: Path, lm: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import importlib

        real = importlib.import_module

        def absent(name: str, *rest: str) -> object:
            if name == "sounddevice":
                raise ModuleNotFoundError(name)
            return real(name, *rest)

        monkeypatch.setattr(importlib, "import_module", absent)
        told = refused("continue", melody, "--model", lm, "--play")
        assert told == 'a loudspeaker needs sounddevice, which is not installed: pip install "auricle[live]"'


class TestLoud:
    def test_what_is_beyond_full_scale_is_lowered_and_said(
        self, auricle: Run, melody: Path, lm: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Job.made.fget
        assert real is not None

        def louder(self: Making) -> Made:
            made: Made = real(self)
            samples = made.audio.samples.copy()
            samples[RATE + 1000 : RATE + 1100] = 1.5
            object.__setattr__(made.audio, "samples", samples)
            return made

        monkeypatch.setattr(Job, "made", property(louder))
        args = ("continue", melody, "--model", lm, "--seconds", 0.5, "--seed", 1)
        done = auricle(*args)
        assert "note: melody-continued.wav goes beyond full scale: 0.0" in done.err
        assert "are lowered, by up to 3.5 dB" in done.err
        assert np.abs(soundfile.read("melody-continued.wav")[0]).max() <= 1
        assert "full scale" not in auricle(*args, "--out", "f.wav", "--bits", "float").err
        assert np.abs(soundfile.read("f.wav")[0]).max() == 1.5


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (("--seconds", "nan"), "seconds is nan; it must be a number of seconds above 0"),
            (("--seconds", "1e9"), "seconds is 1e+09; at most 600 s are made: raise max_new_seconds"),
            (("--seconds", "-1"), "seconds is -1.0"),
            (("--temperature", "nan"), "temperature is nan"),
            (("--temperature", "-1"), "temperature is -1.0"),
            (("--top-k", "-1"), "top_k is -1"),
            (("--top-p", "0"), "top_p is 0.0"),
            (("--guidance", "nan"), "guidance is nan"),
            (("--repetition-window", "-2"), "repetition_window is -2"),
            (("--seed", "-1"), "seed is -1"),
            (("--context", "0"), "context is 0.0"),
            (("--context", "50"), "this model takes 1.2 s in one go"),
            (("--fade", "2"), "fade is 2.0; it must be from 0 to 1 second"),
            (
                ("--max-new-seconds", "1e308"),
                "max_new_seconds is 1e+308; it must be a number of seconds above 0, at most",
            ),
            (("--count", "0"), "count is 0; it must be from 1 to 64: more come with another --seed"),
            (("--count", "100000000"), "count is 100000000; it must be from 1 to 64"),
            (("--count", "2", "--play"), "count is 2, but one sound is played"),
            (("--raw",), "--raw is for stdout: add --out -"),
            (("--output-device", "x"), "--output-device names a loudspeaker: add --play"),
            (("--out", ""), ". is a folder: name a .wav or .flac with --out"),
            (("--out", ".."), ".. is a folder: name a .wav or .flac with --out"),
            (("--out", "x.mp3"), "x.mp3 says by its name how it is to be written: it must end in .wav or .flac"),
            (("--out", "x.flac", "--bits", "float"), "flac has no float samples"),
            (("--out", "none/x.wav"), "none/x.wav can't be written: there is no folder none"),
            (("--out", "melody.wav"), "melody.wav is there already: name another with --out, or add --overwrite"),
            (("--picture", "x.gif"), "picture x.gif must end in .png, .svg or .pdf"),
            (("--picture", "none/x.png"), "there is no folder none"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_options(self, refused: Refused, melody: Path, lm: Path, options: tuple[str, ...], told: str) -> None:
        assert told in refused("continue", melody, "--model", lm, *options)
        assert [path.name for path in Path().iterdir()] == ["melody.wav"]

    def test_a_file_is_not_replaced_unless_told(self, auricle: Run, refused: Refused, melody: Path, lm: Path) -> None:
        Path("melody-continued-2.wav").write_text("mine")
        args = ("continue", melody, "--model", lm, "--seconds", 0.5, "--count", 2)
        assert "melody-continued-2.wav is there already" in refused(*args)
        assert not Path("melody-continued-1.wav").exists()
        assert auricle(*args, "--overwrite").status == 0
        assert soundfile.info("melody-continued-2.wav").frames == 1.5 * RATE

    def test_sounds(self, refused: Refused, melody: Path, lm: Path) -> None:
        assert refused("continue", "none.wav", "--model", "nowhere") == "there is no file none.wav; check the path"
        Path("empty.wav").write_bytes(b"")
        assert "is empty (0 bytes)" in refused("continue", "empty.wav", "--model", lm)
        Path("short.wav").write_bytes(written(tone(220, 0.01, RATE), RATE, "WAV", "PCM_16"))
        assert "has 10.00 ms, which is less than a frame" in refused("continue", "short.wav", "--model", lm)
        bad = np.full(RATE, math.nan, np.float32)
        Path("nan.wav").write_bytes(written(bad, RATE, "WAV", "FLOAT"))
        assert "NaN or infinite" in refused("continue", "nan.wav", "--model", lm)
        assert "nothing is piped in" not in refused("continue", "-", "--model", lm, stdin=b"RIFF")
        assert "the limit is 0.5 s" in refused("continue", melody, "--model", lm, "--max-seconds", 0.5)

    def test_models(self, refused: Refused, melody: Path, lm: Path, tmp_path: Path) -> None:
        assert "tiny makes no sound (it is of the type 'gemma4')" in refused("continue", melody, "--model", "tiny")
        other = make_audiolm(tmp_path / "other" / "lm", num_quantizers=4)
        told = refused("continue", melody, "--model", other)
        assert "was trained on 4 codebooks of 64" in told
        assert "has 2 codebooks of 64" in told

    def test_ask_says_what_such_a_model_is_for(self, refused: Refused, melody: Path, lm: Path) -> None:
        told = refused("ask", melody, "What?", "--model", lm)
        assert (
            told
            == "lm answers no questions; it makes sound: auricle continue, infill, restyle. A model that does is tiny"
        )
        assert "codec answers no questions; it turns sound into codes" in refused(
            "ask", melody, "What?", "--model", lm.parent / "codec"
        )


def test_ctrl_c_leaves_nothing(auricle: Run, melody: Path, lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Making) -> Iterator[None]:
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "__iter__", stop)
    done = auricle("continue", melody, "--model", lm, "--seconds", 1)
    assert done.status == 130
    assert done.err == "note: melody-continued.wav is not written: stopped before it was whole\n"
    monkeypatch.setattr(Job, "variants", lambda self, count: list(stop(self)))
    done = auricle("continue", melody, "--model", lm, "--seconds", 1, "--count", 3)
    assert done.err == (
        "note: melody-continued-1.wav to melody-continued-3.wav are not written: stopped before they were whole\n"
    )
    assert [path.name for path in Path().iterdir()] == ["melody.wav"]


def test_silence_and_stereo_are_said(auricle: Run, melody: Path, lm: Path) -> None:
    Path("s.wav").write_bytes(written(np.zeros((2, RATE // 2), np.float32), RATE, "WAV", "PCM_16"))
    done = auricle("continue", "s.wav", "--model", lm, "--seconds", 0.2)
    assert done.status == 0
    assert "note: s.wav has 2 channels; they are mixed, and the result is mono\n" in done.err
    assert "too; if its 2 channels are opposite, mixing cancelled them: give one\n" in done.err


def test_inspect_shows_what_it_is_for(auricle: Run, lm: Path) -> None:
    done = auricle("inspect", lm)
    assert "makes sound: auricle continue, infill, restyle" in done.out
    assert "seconds in one go" in done.out
    assert "turns sound into codes" in auricle("inspect", lm.parent / "codec").out
    assert auricle("inspect", lm, "--json").json["runs"] is True


def test_defaults_are_those_of_the_library() -> None:
    """Named again in the command line, whose help must not wait for torch."""
    assert TokenSampling(**asdict(Tokens())) == TokenSampling()


def test_help_needs_no_torch() -> None:
    code = "import sys, auricle.cli.continue_, auricle.cli.infill, auricle.cli.restyle; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
