"""`auricle listen`: what is piped in, and a microphone that stands in for one."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.cli.main import main
from auricle.sound import microphone
from auricle.sound.decode import decode
from tests.cli.conftest import Run
from tests.sound.making import written

ROOT = Path(__file__).parents[2]
SENTENCE = ROOT / "examples" / "sentence.wav"
WORDS = "the old man opened the window"
RATE = 16_000


def sentence(after_s: float = 0.0) -> np.ndarray:
    return np.concatenate([decode(SENTENCE, rate=RATE).samples, np.zeros(round(after_s * RATE), np.float32)])


def wav(samples: np.ndarray) -> bytes:
    return written(samples, RATE, "WAV", "PCM_16")


def raw(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def test_without_an_instruction_it_writes_down_what_is_said(auricle: Run) -> None:
    done = auricle("listen", stdin=SENTENCE.read_bytes())
    assert (done.status, done.out, done.err) == (0, WORDS + "\n", "")


def test_an_instruction_is_answered(auricle: Run) -> None:
    done = auricle("listen", "Is someone speaking?", "--choices", "Yes,No", stdin=SENTENCE.read_bytes())
    assert (done.status, done.out) == (0, "Yes\n")


def test_raw_sound(auricle: Run) -> None:
    stereo = np.stack([sentence()] * 2, axis=1).reshape(-1)
    done = auricle("listen", "--raw", "s16le", "--rate", RATE, "--channels", 2, stdin=raw(stereo))
    assert (done.status, done.out) == (0, WORDS + "\n")


def test_it_says_what_ask_says(auricle: Run, e2b: Path, sounds: Path) -> None:
    options = ["--model", e2b, "--max-tokens", 8, "--json"]
    asked = auricle("ask", sounds / "tone.wav", "What?", *options).json
    heard = auricle("listen", "What?", *options, stdin=(sounds / "tone.wav").read_bytes()).json
    assert heard["tokens"] == asked["tokens"]
    assert heard["prompt_tokens"] == asked["prompt_tokens"]


def test_a_pause_ends_it_and_a_note_says_what_was_not_heard(auricle: Run) -> None:
    twice = np.concatenate([sentence(after_s=3), sentence()])
    done = auricle("listen", "--pause", "0.6", "--vad", "energy", stdin=wav(twice))
    assert (done.status, done.out) == (0, WORDS + "\n")
    assert "note: the speaker stopped, so that listening ended at 2." in done.err
    assert "what follows was not heard" in done.err


def test_json(auricle: Run) -> None:
    record = auricle("listen", "--json", "--vad", "energy", stdin=wav(sentence())).json
    assert (record["model"], record["answer"], record["stopped"], record["detector"]) == (
        "tiny",
        WORDS,
        False,
        "energy",
    )
    assert record["segments"] == [
        {"source": "stdin", "start_s": 0.0, "end_s": record["seconds"], "tokens": record["segments"][0]["tokens"]}
    ]
    assert record["timings"]["ttft_s"] > 0


def test_partial_transcripts_come_before_the_last(auricle: Run) -> None:
    *partials, record = auricle("listen", "--partial", "--json", stdin=wav(sentence(after_s=1))).json_lines
    texts = [partial["partial"] for partial in partials]
    assert WORDS in texts
    assert record["answer"] == WORDS
    done = auricle("listen", "--partial", stdin=wav(sentence(after_s=1)))
    assert done.out == WORDS + "\n"
    assert f"... {WORDS}\n" in done.err


def test_a_transcript_goes_on_past_a_clip(auricle: Run, e2b: Path) -> None:
    """Clip after clip, each of which the random model talks about until it may not go on."""
    noise = np.random.default_rng(0).normal(0, 0.1, 70 * RATE).astype(np.float32)
    record = auricle("listen", "--json", "--model", e2b, "--max-tokens", 3, stdin=wav(noise)).json
    segments = record["segments"]
    assert len(segments) == 3
    assert [s["start_s"] for s in segments] == [0.0, *(s["end_s"] for s in segments[:-1])]
    assert segments[-1]["end_s"] == 70.0


def test_timings(auricle: Run) -> None:
    assert "first token after" in auricle("listen", "--timings", stdin=wav(sentence())).err


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ((), b"", "stdin is empty"),
        ((), b"hello there, no sound", "stdin is no WAV"),
        ((), wav(np.zeros(100, np.float32)), "the model needs at least 161"),
        (("--raw", "s16le", "--rate", 16000), wav(np.zeros(8000, np.float32)), "stdin is a WAV"),
        (("--raw", "s16"), b"12", "--raw s16 needs its samples per second"),
        (("--raw", "s16", "--rate", 16000), b"12", "raw is 's16'"),
        (("--raw", "s16le", "--rate", 0), b"12", "rate is 0"),
        (("--rate", 16000), b"12", "--rate and --channels are for --raw"),
        (("--raw", "s16le", "--rate", 16000, "--channels", 0), b"12", "channels is 0"),
        (("talk.mp3",), b"", "listen reads stdin, not files"),
        (("--microphone", "--raw", "s16le", "--rate", 16000), b"", "--raw describes stdin"),
        (("--input-device", "USB"), b"", "add --microphone"),
        (("--step", "0.01"), b"", "step is 0.01"),
        (("--pause", "0"), b"", "pause is 0.0"),
        (("--max-tokens", "0"), b"", "max_tokens is 0"),
        (("",), b"", "the instruction is empty"),
        (("<|turn>",), wav(np.zeros(8000, np.float32)), "control token"),
    ],
)
def test_bad_input(refused: Callable[..., str], arguments: tuple[Any, ...], stdin: bytes, message: str) -> None:
    assert message in refused("listen", *arguments, stdin=stdin)


def test_sound_that_is_not_finite(refused: Callable[..., str]) -> None:
    samples = np.zeros(16_000, np.float32)
    samples[8000] = np.nan
    message = refused("listen", "--raw", "f32le", "--rate", RATE, stdin=samples.tobytes())
    assert "0.5" in message
    assert "NaN" in message


# --- a microphone


class Desk:
    """A microphone that gives a sound in blocks, and whose `stop` ends it."""

    rate, channels, name = RATE, 1, "a desk"
    notes: tuple[str, ...] = ("0.1 s of sound were lost",)

    def __init__(self, samples: np.ndarray, *, endless: bool = False) -> None:
        self.samples, self.endless, self.stopped = samples, endless, False

    def stop(self) -> None:
        self.stopped = True

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.samples), 320):
            yield self.samples[None, start : start + 320]
        if self.endless:
            os.kill(os.getpid(), signal.SIGINT)  # somebody presses Ctrl-C
            for _ in range(1000):
                if self.stopped:
                    return
                yield np.zeros((1, 320), np.float32)
            pytest.fail("nobody stopped it")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Desk], None]:
    def install(desk: Desk) -> None:
        @contextmanager
        def opened(device: str | None = None) -> Iterator[Desk]:
            yield desk

        monkeypatch.setattr(microphone, "open_microphone", opened)

    return install


def test_a_microphone_is_heard_until_a_pause(auricle: Run, desk: Callable[[Desk], None]) -> None:
    desk(Desk(sentence(after_s=4)))
    done = auricle("listen", "--microphone", "--vad", "energy")
    assert (done.status, done.out) == (0, WORDS + "\n")
    assert done.err == "note: 0.1 s of sound were lost\n"


def test_what_comes_behind_a_wav_is_told(auricle: Run) -> None:
    done = auricle("listen", stdin=wav(sentence()) + wav(sentence()))
    assert (done.status, done.out) == (0, WORDS + "\n")
    assert "note: stdin goes on behind the 1.6" in done.err
    assert auricle("listen", stdin=wav(sentence()) + b"LIST\4\0\0\0abcd").err == ""


def test_where_stderr_is_closed_stdout_has_the_answer_alone(auricle: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert auricle("listen", "--partial", stdin=wav(sentence(after_s=1))).out == WORDS + "\n"


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_ends_the_microphone_and_the_answer_follows(auricle: Run, desk: Callable[[Desk], None]) -> None:
    before = signal.getsignal(signal.SIGINT)
    desk(Desk(sentence(), endless=True))
    done = auricle("listen", "--microphone", "--pause", "60")
    assert (done.status, done.out) == (0, WORDS + "\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_microphones_library(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert 'pip install "auricle[live]"' in refused("listen", "--microphone")


def test_a_terminal_is_no_sound(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(sys, "argv", ["auricle", "listen"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "nothing is piped in" in capsys.readouterr().err


# --- as it comes


def test_it_answers_while_the_pipe_is_still_open() -> None:
    """The writer goes on: what ends it is the pause."""
    command = [sys.executable, "-c", "from auricle.cli.main import main; main()"]
    command += ["listen", "--raw", "s16le", "--rate", str(RATE), "--pause", "0.5", "--vad", "energy"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(raw(sentence(after_s=1.5)))
        running.stdin.flush()
        begun = time.perf_counter()
        line = running.stdout.readline()
        assert line.decode() == WORDS + "\n"
        assert time.perf_counter() - begun < 60  # and did not wait for an end that never comes
        running.stdin.close()
        running.wait()
    assert running.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_while_it_waits_for_sound_brings_the_answer() -> None:
    """As it reaches the whole of `arecord | auricle listen`."""
    command = [sys.executable, "-c", "from auricle.cli.main import main; main()", "listen"]
    command += ["--raw", "s16le", "--rate", str(RATE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        running.stdin.write(raw(sentence(after_s=1)))
        running.stdin.flush()
        time.sleep(6.0)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()
    assert (running.returncode, out.decode()) == (0, WORDS + "\n"), err
    assert err.startswith(b"note: Ctrl-C ended the listening after 2.")


def test_a_full_context_is_told_and_what_was_heard_is_answered(auricle: Run, e2b: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(e2b, tmp_path / "small")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 200
    (folder / "config.json").write_text(json.dumps(config))
    noise = np.random.default_rng(0).normal(0, 0.1, 12 * RATE).astype(np.float32)
    done = auricle("listen", "What?", "--model", folder, "--max-tokens", 4, stdin=wav(noise))
    assert done.status == 0
    assert done.out != ""
    assert "note: the model's context of 200 tokens is full after" in done.err


def test_clips_that_are_written_down_are_shown_at_once_and_once(auricle: Run, e2b: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 40 * RATE).astype(np.float32)
    command = ["listen", "--model", e2b, "--max-tokens", 5]
    whole = auricle(*command, "--json", stdin=wav(noise)).json["answer"]
    shown = auricle(*command, "--partial", stdin=wav(noise)).out
    assert " ".join(shown.split()) == " ".join(whole.split())
