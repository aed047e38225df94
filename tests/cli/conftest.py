"""Running `auricle` within the test's own process, and the sounds to run it on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.cli.main import main
from tests.sound.making import RATE, tone, written


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture
def auricle(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line: `auricle("ask", path, "What?", stdin=b"")`."""

    def run(*arguments: object, stdin: bytes = b"") -> Done:
        monkeypatch.delenv("AURICLE_DEBUG", raising=False)
        monkeypatch.setattr(sys, "argv", ["auricle", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def refused(auricle: Run) -> Callable[..., str]:
    """Runs a command line that has to be refused: exit status 2, nothing on stdout, one line on stderr, returned."""

    def run(*arguments: object, stdin: bytes = b"") -> str:
        done = auricle(*arguments, stdin=stdin)
        assert (done.status, done.out) == (2, ""), done
        assert done.err.startswith("auricle: "), done.err
        assert done.err.count("\n") == 1, done.err
        assert "Traceback" not in done.err
        return done.err.removeprefix("auricle: ").rstrip("\n")

    return run


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tone.wav (1 s), noise.wav (0.5 s) and long.wav (36 s with a pause of 1 s after 20)."""
    folder = tmp_path_factory.mktemp("sounds")
    noise = np.random.default_rng(0).normal(0, 0.1, RATE // 2).astype(np.float32)
    pause = np.zeros(RATE, np.float32)
    clips = {"tone": tone(), "noise": noise, "long": np.concatenate([tone(300, 20), pause, tone(600, 15)])}
    for name, samples in clips.items():
        (folder / f"{name}.wav").write_bytes(written(samples, RATE, "WAV", "PCM_16"))
    return folder
