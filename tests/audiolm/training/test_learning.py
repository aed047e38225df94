"""Runs on toy tokens learn, and leave behind what they should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auricle.audiolm.model.weights import load
from auricle.audiolm.training import Every
from auricle.audiolm.training.run import train
from tests.audiolm.training.conftest import logged
from tests.audiolm.training.toy import settings


class TestLearning:
    @pytest.mark.parametrize("pattern", ["ar-nar", "delay"])
    def test_a_rule_is_learned(self, tokens: Path, tmp_path: Path, pattern: str) -> None:
        """Within seconds, to a twentieth of what guessing costs: 2.77 nats."""
        out = tmp_path / "run"
        options: dict[str, Any] = {"pattern": pattern, "max_steps": 200, "log_every": 50, "dropout": 0.0}
        done = train(settings(tokens, out, valid_every=Every(200), **options))
        assert done.result is not None
        test = done.result["test"]
        assert max(test["cross_entropy"]) < 0.14
        assert min(test["top1"]) > 0.97
        assert min(test["baselines"]["unigram"]["cross_entropy"]) > 2.6
        assert done.result["repetition"]["items"] == 4
        assert done.result["repetition"]["generated"] == pytest.approx(done.result["repetition"]["real"], abs=0.1)

    def test_what_is_left_behind(self, whole: Path) -> None:
        names = {path.name for path in whole.iterdir()}
        assert names == {".lock", "best", "checkpoint", "log.jsonl", "plan.json", "result.json"}
        steps, checks = logged(whole), logged(whole, "validation")
        assert [one["step"] for one in steps] == list(range(1, 16))
        assert [(one["step"], one["epoch"]) for one in checks] == [(5, 1), (10, 2), (15, 3)]
        result = json.loads((whole / "result.json").read_text())
        best = min(checks, key=lambda one: one["loss"])
        assert result["best"] == {"step": best["step"], "validation_loss": best["loss"]}
        model = load(whole / "best")
        assert (model.config.d_model, model.config.codec, model.config.frame_rate) == (32, "toy", 50.0)

    @pytest.mark.usefixtures("drawn")
    def test_the_picture_and_the_board(self, tokens: Path, tmp_path: Path) -> None:
        out = tmp_path / "run"
        train(settings(tokens, out, max_steps=2, tensorboard=True))
        assert (out / "losses.png").read_bytes().startswith(b"\x89PNG")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        board = EventAccumulator(str(out / "tensorboard"))
        board.Reload()
        events = {tag: board.Scalars(tag) for tag in board.Tags()["scalars"]}
        assert [one.value for one in events["step/loss"]] == pytest.approx([one["loss"] for one in logged(out)])
        assert [one.step for one in events["validation/cross_entropy_3"]] == [2]

    def test_the_best_is_kept_and_not_the_last(
        self, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from auricle.audiolm.training import run as module

        real, losses = module.evaluate, iter([3.0, 1.0, 2.0])

        def evaluate(*arguments: Any) -> Any:
            found = real(*arguments)
            loss = next(losses)
            monkeypatch.setattr(type(found), "loss", property(lambda self: loss))
            return found

        monkeypatch.setattr(module, "evaluate", evaluate)
        weights = []
        keep = module.RunFolder.keep_best
        monkeypatch.setattr(
            module.RunFolder, "keep_best", lambda self, write: (weights.append(None), keep(self, write))[1]
        )
        done = train(settings(tokens, tmp_path / "run", num_epochs=3))
        assert (done.best_loss, done.best_step, len(weights)) == (1.0, 10, 2)
