"""Runs that start from a model, from a stage before, or from a checkpoint of VALL-E's AudioLM."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from auricle.audiolm.model.weights import load
from auricle.audiolm.training.loop import Ending
from auricle.audiolm.training.run import train
from auricle.errors import CheckpointError, InputError, OptionError
from tests.audiolm.training.conftest import logged
from tests.audiolm.training.toy import settings


class TestStarting:
    def test_from_a_model(self, tokens: Path, whole: Path, tmp_path: Path) -> None:
        done = train(settings(tokens, tmp_path / "run", init=str(whole / "best"), max_steps=1, base_lr=1e-9))
        result = json.loads((whole / "result.json").read_text())
        assert done.result is not None
        assert done.result["test"]["loss"] == pytest.approx(result["test"]["loss"], abs=1e-4)

    def test_from_a_model_of_another_shape(self, tokens: Path, whole: Path, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"is a model with num_decoder_layers 2, and not 3: ask for what it has"):
            train(settings(tokens, tmp_path / "run", init=str(whole / "best"), num_decoder_layers=3))

    def test_the_second_half_leaves_the_first_as_it_was(self, tokens: Path, tmp_path: Path) -> None:
        """As VALL-E's recipe: stage 1, then stage 2 in the same folder from a later epoch."""
        out = tmp_path / "run"
        train(settings(tokens, out, train_stage=1, num_epochs=2))
        done = train(settings(tokens, out, train_stage=2, start_epoch=3, num_epochs=4))
        assert (done.steps, done.ending) == (10, Ending.DONE)
        before, after = load(out / "stage-1" / "best").state_dict(), load(out / "best").state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed
        assert {name.split("_")[0] for name in changed} == {"nar"}
        assert logged(out / "stage-1", "validation")[0]["cross_entropy"][1:] == [None] * 3
        assert logged(out, "validation")[0]["cross_entropy"][0] is None
        assert [one["epoch"] for one in logged(out, "validation")] == [3, 4]
        assert done.result is not None
        again = train(settings(tokens, out, train_stage=2, start_epoch=3, num_epochs=4))
        assert again.resumed_from == 10

    def test_from_a_checkpoint_of_vall_e(self, tokens: Path, whole: Path, tmp_path: Path) -> None:
        """Where VALL-E's trainer left it: `epoch-N.pt` in the folder."""
        out, notes = tmp_path / "run", list[str]()
        out.mkdir()
        state = load(whole / "best").state_dict()
        del state["ar_part_embedding.weight"]
        table = "ar_audio_embedding.word_embeddings.weight"
        state[table] = state[table][:-1]  # without BOS
        torch.save({"model": {**state, "text": torch.ones(2)}, "epoch": 2}, out / "epoch-2.pt")
        same = {"num_epochs": 3, "base_lr": 1e-9, "max_steps": 1}
        done = train(settings(tokens, out, start_epoch=3, **same), note=notes.append)
        assert any("epoch-2.pt is left out: text" in one for one in notes)
        assert any("is not there, and begins at zero: ar_part_embedding" in one for one in notes)
        assert any(f"has not as many rows, of which those that are there are taken: {table}" in one for one in notes)
        assert done.best_loss is not None
        assert done.best_loss < 2.4

    def test_a_stage_2_that_does_not_fit_leaves_stage_1_alone(self, tokens: Path, tmp_path: Path) -> None:
        out = tmp_path / "run"
        train(settings(tokens, out, train_stage=1, num_epochs=1))
        with pytest.raises(OptionError, match="is a model with decoder_dim 32, and not 64"):
            train(settings(tokens, out, train_stage=2, start_epoch=2, decoder_dim=64))
        assert not (out / "stage-1").exists()
        assert train(settings(tokens, out, train_stage=1, num_epochs=1)).resumed_from == 5

    def test_a_checkpoint_of_another_model(self, tokens: Path, whole: Path, tmp_path: Path) -> None:
        out = Path(shutil.copytree(whole, tmp_path / "run"))
        plan = json.loads((out / "plan.json").read_text())
        (out / "plan.json").write_text(json.dumps({**plan, "decoder_dim": 64}))
        state = torch.load(out / "checkpoint" / "state.pt")
        state["place"]["finished"] = False
        torch.save(state, out / "checkpoint" / "state.pt")
        with pytest.raises(CheckpointError, match=r"the checkpoint in .*run is of another model \(lm\."):
            train(settings(tokens, out, num_epochs=3, decoder_dim=64))

    def test_a_later_epoch_needs_something_to_start_from(self, tokens: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"start_epoch is 3, and .* has neither epoch-2.pt nor a model of stage 1"):
            train(settings(tokens, tmp_path / "run", start_epoch=3, num_epochs=3))

    def test_a_checkpoint_of_other_codebooks(self, tokens: Path, whole: Path, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="is a model with codebook_size 16, and not 32"):
            train(settings(tokens, tmp_path / "run", init=str(whole / "best"), codebook_size=32))
        torch.save({"model": load(whole / "best").state_dict()}, tmp_path / "seed.pt")
        with pytest.raises(CheckpointError, match="is of 4 codebooks of 16 codes; the model has 4 of 32"):
            train(settings(tokens, tmp_path / "other", init=str(tmp_path / "seed.pt"), codebook_size=32))
