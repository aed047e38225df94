"""Tokens to train on, and what a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.audiolm.model.weights import load
from auricle.audiolm.training import run as run_module
from auricle.audiolm.training.loop import Ending
from auricle.audiolm.training.run import train
from tests.audiolm.training.toy import settings, toy_tokens

TIMES = ("seconds", "tokens_per_s", "sound_per_s")


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read only."""
    return toy_tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="session")
def whole(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 15 steps, to compare with and to read only."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "draw_losses", lambda records, path: None)
        done = train(settings(tokens, out, num_epochs=3))
    assert (done.ending, done.step, done.steps, done.resumed_from) == (Ending.DONE, 15, 15, None)
    return out


@pytest.fixture
def drawn() -> None:
    """For those who look at a picture: see `undrawn`."""


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than the training here."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(run_module, "draw_losses", lambda records, path: None)


def logged(out: Path, kind: str = "step") -> list[dict[str, Any]]:
    """The lines of a run's log, without what differs from run to run."""
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: one[name] for name in one if name not in TIMES} for one in records if one["kind"] == kind]


def same_weights(a: Path, b: Path) -> bool:
    one, other = load(a).state_dict(), load(b).state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
