"""A run that is stopped goes on with the same losses; another command is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auricle.audiolm.model.weights import load
from auricle.audiolm.training.loop import Ending, Loop
from auricle.audiolm.training.run import train
from auricle.audiolm.training.stopping import Stop
from auricle.errors import InputError
from tests.audiolm.training.conftest import logged, same_weights
from tests.audiolm.training.toy import settings, toy_tokens


def stopped_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses Ctrl-C in the middle of a step."""
    make = Loop._step

    def step(self: Loop, *arguments: Any) -> None:
        make(self, *arguments)
        if self.place.step == steps:
            self.stop._note(2, None)

    monkeypatch.setattr(Loop, "_step", step)


class TestGoingOn:
    def test_the_same_losses_after_a_stop(
        self, tokens: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the middle of an epoch; with dropout, drawn stages and all."""
        out, notes = tmp_path / "run", list[str]()
        with monkeypatch.context() as patch:
            stopped_after(7, patch)
            first = train(settings(tokens, out, num_epochs=3))
        assert (first.ending, first.step, first.result) == (Ending.INTERRUPTED, 7, None)
        second = train(settings(tokens, out, num_epochs=3), note=notes.append)
        assert notes[0] == f"going on from step 7 of 15 in {out}"
        assert (second.ending, second.step, second.resumed_from) == (Ending.DONE, 15, 7)
        assert logged(out) == logged(whole)
        assert logged(out, "validation") == logged(whole, "validation")
        assert same_weights(out / "best", whole / "best")

    def test_lines_of_the_log_that_span_the_stop(
        self, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train(settings(tokens, tmp_path / "a", num_epochs=3, log_every=4))
        with monkeypatch.context() as patch:
            stopped_after(6, patch)
            train(settings(tokens, tmp_path / "b", num_epochs=3, log_every=4))
        train(settings(tokens, tmp_path / "b", num_epochs=3, log_every=4))
        assert logged(tmp_path / "b") == logged(tmp_path / "a")

    def test_a_stop_within_a_validation(
        self, tokens: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is made when the run goes on."""
        from auricle.audiolm.training import run as module

        out = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(module, "evaluate", lambda *arguments: None)
            done = train(settings(tokens, out, num_epochs=3))
        assert (done.ending, done.step, done.best_loss) == (Ending.INTERRUPTED, 5, None)
        train(settings(tokens, out, num_epochs=3))
        assert logged(out, "validation") == logged(whole, "validation")

    def test_the_time_is_up(self, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """There is a best model even so."""
        monkeypatch.setattr(Stop, "time_is_up", True)
        done = train(settings(tokens, tmp_path / "run", num_epochs=3, minutes=0.001))
        assert (done.ending, done.step, done.best_step, done.result) == (Ending.TIME, 1, 1, None)
        assert load(tmp_path / "run" / "best")

    def test_a_finished_run_is_left_alone(self, tokens: Path, whole: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
        done = train(settings(tokens, whole, num_epochs=3))
        assert (done.ending, done.resumed_from, done.step) == (Ending.DONE, 15, 15)
        assert done.result == json.loads((whole / "result.json").read_text())
        assert {path: path.stat().st_mtime_ns for path in before if path.name != ".lock"} == {
            path: time for path, time in before.items() if path.name != ".lock"
        }

    def test_killed_before_the_test(self, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from auricle.audiolm.training import run as module

        def interrupted(*arguments: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, "tested", interrupted)
            with pytest.raises(KeyboardInterrupt):
                train(settings(tokens, tmp_path / "run"))
        done = train(settings(tokens, tmp_path / "run"))
        assert done.resumed_from == done.steps
        assert done.result is not None

    def test_another_command_is_refused(self, tokens: Path, whole: Path) -> None:
        with pytest.raises(InputError, match=r"was begun with seed 0, and not 1: name another folder"):
            train(settings(tokens, whole, num_epochs=3, seed=1))

    def test_other_tokens_are_refused(self, whole: Path, tmp_path: Path) -> None:
        other = toy_tokens(tmp_path / "tokens", seed=1)
        with pytest.raises(InputError, match=r"was begun with data 40 train items \(\w+\) and 6 validation items"):
            train(settings(other, whole, num_epochs=3))
