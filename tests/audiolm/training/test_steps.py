"""What one step is: tokens weigh the same wherever they are, and nothing that is no number is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.audiolm.model.weights import load
from auricle.audiolm.training import loop as loop_module
from auricle.audiolm.training.run import train
from auricle.errors import AuricleError, InputError
from tests.audiolm.training.conftest import logged
from tests.audiolm.training.toy import settings


class TestSteps:
    def test_many_batches_are_one_step(self, tokens: Path, tmp_path: Path) -> None:
        """Whatever their sizes: the mean is over tokens. (One half only, as batches draw stages of their own.)"""
        same: dict[str, Any] = {"train_stage": 1, "num_epochs": 3, "dropout": 0.0}
        train(settings(tokens, tmp_path / "a", max_duration=1000.0, **same))
        train(settings(tokens, tmp_path / "b", max_duration=10.0, accumulate=99, **same))
        one, many = logged(tmp_path / "a"), logged(tmp_path / "b")
        assert len(one) == len(many) == 3
        for a, b in zip(one, many, strict=True):
            assert (a["loss"], a["grad_norm"]) == pytest.approx((b["loss"], b["grad_norm"]), rel=1e-4)

    def test_only_matrices_decay(self) -> None:
        from auricle.audiolm.training.objective import optimizer_of

        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Embedding(5, 6))
        decayed, spared = optimizer_of(model, "adamw", 1e-3, 0.1).param_groups
        assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
        assert {tuple(one.shape) for one in decayed["params"]} == {(4, 3), (5, 6)}
        assert {tuple(one.shape) for one in spared["params"]} == {(4,)}
        assert decayed["betas"] == (0.9, 0.95)

    def test_a_gradient_is_clipped(self, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        norms = []
        step = torch.optim.AdamW.step

        def seen(self: torch.optim.AdamW, *arguments: Any) -> Any:
            grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
            norms.append(float(torch.stack([one.norm() for one in grads]).norm()))
            return step(self, *arguments)

        monkeypatch.setattr(torch.optim.AdamW, "step", seen)
        train(settings(tokens, tmp_path / "run", max_steps=2, clip_grad=0.01))
        assert norms == pytest.approx([0.01, 0.01], rel=1e-3)
        assert all(one["grad_norm"] > 0.1 for one in logged(tmp_path / "run")), "the log has it as it was"

    def test_bfloat16_is_of_products_alone(self, tokens: Path, tmp_path: Path) -> None:
        train(settings(tokens, tmp_path / "a", max_steps=3, dtype="bf16"))
        train(settings(tokens, tmp_path / "b", max_steps=3))
        a, b = (logged(tmp_path / name)[-1]["loss"] for name in "ab")
        assert a != b
        assert a == pytest.approx(b, abs=0.02)
        assert {one.dtype for one in load(tmp_path / "a" / "best").state_dict().values()} == {torch.float32}

    def test_a_loss_that_is_no_number(self, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of it is kept."""
        monkeypatch.setattr(loop_module, "rate", lambda step, *rest: 1e30 if step == 6 else 1e-3)
        with pytest.raises(AuricleError, match="the loss is no number any more: lower base_lr"):
            train(settings(tokens, tmp_path / "run", num_epochs=3))
        state = torch.load(tmp_path / "run" / "checkpoint" / "state.pt")
        assert state["place"]["step"] == 5
        assert all(torch.isfinite(one).all() for one in state["model"].values())

    def test_codes_out_of_range(self, tokens: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"has a code \d+, and codebooks have 8 entries"):
            train(settings(tokens, tmp_path / "run", codebook_size=8))
