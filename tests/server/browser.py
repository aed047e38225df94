"""A real server with `tiny`, and a real headless Chromium that looks at its page."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
SENTENCE = ROOT / "examples/sentence.wav"
SAID = "the old man opened the window"
QUESTION = ROOT / "examples/question.wav"
ASKED = "where is my green coat"
WHAT = "What does the speaker say?"
READY_S = 60.0
INSECURE = "sound.test"  # a name that Chromium is told to find here, and to which it gives no microphone


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """The address of `auricle serve` on a free port, ready; stopped behind the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    auricle = [sys.executable, "-c", "from auricle.cli.main import main; main()"]
    command = [*auricle, "serve", "--port", str(port), *options]
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryFile("w+") as said:  # a pipe that nobody reads would fill and hold the server up
        server = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            _await_ready(server, address, said)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def _await_ready(server: subprocess.Popen[bytes], address: str, said: IO[str]) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if server.poll() is not None:
            said.seek(0)
            pytest.fail(f"auricle serve ended with {server.returncode}: {said.read()}")
        try:
            with urllib.request.urlopen(f"{address}health", timeout=5):
                return
        except OSError:  # not listening yet, or 503 while it loads
            time.sleep(0.1)
    pytest.fail(f"auricle serve was not ready within {READY_S:.0f} s")


@contextmanager
def chromium(microphone: Path | None = None) -> Iterator[Browser]:
    """Chromium, whose microphone plays a file over and over; skips where there is none, but not in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no Chromium: install it with `apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    arguments = [f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1", "--use-fake-device-for-media-stream"]
    if microphone:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@dataclass
class Watch:
    """What a page did on the side: requests to elsewhere, complaints of the browser."""

    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()  # parts of complaints that a test provokes

    def check(self) -> None:
        assert self.strangers == []
        assert [one for one in self.complaints if not any(part in one for part in self.expected)] == []


def watch(page: Page, address: str) -> Watch:
    seen = Watch()
    own = {urlsplit(address).netloc, ""}  # "": blob: and data:, which reach nobody
    page.on("request", lambda one: urlsplit(one.url).netloc not in own and seen.strangers.append(one.url))
    page.on("console", lambda one: one.type in ("error", "warning") and seen.complaints.append(one.text))
    page.on("pageerror", lambda one: seen.complaints.append(str(one)))
    return seen


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Samples of a 16-bit mono file, (samples,), and their rate in Hz."""
    with wave.open(str(path)) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16), sound.getframerate()


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, rate, len(samples), "NONE", ""))
        sound.writeframes(samples.astype(np.int16).tobytes())
    return path


def spoken(path: Path, *sounds: Path, pause_s: float, end_s: float = 0.0) -> Path:
    """Examples one after the other, a pause between two of them and another length of silence at the end."""
    parts = [read_wav(one) for one in sounds]
    rate = parts[0][1]
    silences = [np.zeros(int(seconds * rate)) for seconds in (*[pause_s] * (len(parts) - 1), end_s)]
    pairs = zip(parts, silences, strict=True)
    return write_wav(path, np.concatenate([one for (samples, _), silence in pairs for one in (samples, silence)]), rate)


class Opened:
    """A page at the server's address; `watch` has what it did on the side."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.watch = page, watch(page, address)
        page.set_default_timeout(15_000)
        page.goto(address)
        page.wait_for_selector("[data-state=ready]")


def choose(page: Page, sound: Path) -> None:
    page.set_input_files("#file", sound)
    page.wait_for_function("name => document.querySelector('#sound-title').textContent === name", arg=sound.name)
    page.wait_for_selector("#play:enabled")


def ask(page: Page, question: str = WHAT) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")


def answer(page: Page, number: int = 1) -> str:
    """The text of an answer, once its timings stand below it."""
    turn = page.locator(f".turn:nth-child({number})")
    turn.locator(".figures").wait_for()
    return turn.locator(".text").inner_text()


def drawn(page: Page) -> np.ndarray:
    """The pixels of the picture, (height, width, 4)."""
    size = page.evaluate("[picture.height, picture.width]")
    values = page.evaluate(
        "[...picture.getContext('2d').getImageData(0, 0, picture.width, picture.height).data].join()"
    )
    return np.array(values.split(","), dtype=np.uint8).reshape(*size, 4)


def subtitles(address: str, sound: Path, kind: str) -> str:
    """The pieces that the server answers another client, written as it writes subtitles."""
    import httpx2

    from auricle.server.captions import srt, vtt
    from auricle.types import TranscriptSegment

    form = {"model": "tiny", "response_format": "verbose_json"}
    answer = httpx2.post(
        f"{address}v1/audio/transcriptions", data=form, files={"file": sound.read_bytes()}, timeout=60
    ).json()
    pieces = [TranscriptSegment("", one["start"], one["end"], one["text"]) for one in answer["segments"]]
    return {"srt": srt, "vtt": vtt}[kind](pieces)
