"""The folder of a run: whole after a kill at any time, and of one run alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.audiolm.training import folder as module
from auricle.audiolm.training.folder import STAGE_1, STATE, RunFolder, open_run
from auricle.audiolm.training.log import Log, read_log
from auricle.errors import CheckpointError, InputError

PLAN = {"train_stage": 0, "start_epoch": 1, "seed": 0, "prompt_fraction": (0.1, 0.2)}


def written(content: str) -> Any:
    def write(path: Path) -> None:
        path.mkdir()
        (path / "model").write_text(content)

    return write


class Killed(BaseException):
    pass


def killed(*arguments: Any) -> None:
    raise Killed


class TestPlan:
    def test_the_same_one_goes_on(self, tmp_path: Path) -> None:
        for _ in range(2):
            with open_run(tmp_path / "run", PLAN):
                pass

    def test_another_one_is_refused(self, tmp_path: Path) -> None:
        with open_run(tmp_path, PLAN) as run:
            run.keep_state({})
        with (
            pytest.raises(InputError, match="was begun with seed 0, and not 1"),
            open_run(tmp_path, {**PLAN, "seed": 1}),
        ):
            pass

    def test_before_the_first_checkpoint_it_binds_nobody(self, tmp_path: Path) -> None:
        """A mistyped command leaves a plan; the right one takes its place."""
        for seed in (0, 1):
            with open_run(tmp_path, {**PLAN, "seed": seed}):
                pass
        assert '"seed": 1' in (tmp_path / "plan.json").read_text()

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="holds other files"), open_run(tmp_path, PLAN):
            pass
        assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["notes.txt"]

    def test_a_second_run_meanwhile(self, tmp_path: Path) -> None:
        with (
            open_run(tmp_path, PLAN),
            pytest.raises(InputError, match="another run is writing to"),
            open_run(tmp_path, PLAN),
        ):
            pass

    def test_stage_1_is_put_aside_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where the move is broken off after the first file."""
        first = {**PLAN, "train_stage": 1}
        with open_run(tmp_path, first) as run:
            run.keep_best(written("first"))
            run.keep_state({"step": 1})
        later = {**PLAN, "train_stage": 2, "start_epoch": 3}
        with monkeypatch.context() as patch:
            patch.setattr(module, "synced", killed)
            patch.setattr(module, "OF_A_RUN", ("best",))
            patch.setattr(module, "PLAN", "none")
            with pytest.raises(Killed), open_run(tmp_path, later):
                pass
        assert not (tmp_path / "best").exists()
        with open_run(tmp_path, later) as run:
            assert run.state() is None
            assert run.start(3) == str(tmp_path / STAGE_1 / "best")
        assert {path.name for path in (tmp_path / STAGE_1).iterdir()} == {"best", "checkpoint", "plan.json"}

    def test_a_finished_stage_2_is_not_followed(self, tmp_path: Path) -> None:
        with open_run(tmp_path, {**PLAN, "train_stage": 2}) as run:
            run.keep_state({})
        with (
            pytest.raises(InputError, match="train_stage 2, and not 1"),
            open_run(tmp_path, {**PLAN, "train_stage": 1}),
        ):
            pass


class TestCheckpoint:
    def test_a_kill_while_it_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with open_run(tmp_path, PLAN) as run:
            assert run.state() is None
            run.keep_state({"step": 1})

            def half(state: Any, path: Path) -> None:
                path.write_bytes(b"half")
                raise Killed

            with monkeypatch.context() as patch:
                patch.setattr(torch, "save", half)
                with pytest.raises(Killed):
                    run.keep_state({"step": 2})
            assert run.state() == {"step": 1}

    @pytest.mark.parametrize("content", [b"", b"half a file", b"PK\x03\x04" + bytes(100)])
    def test_a_damaged_one(self, tmp_path: Path, content: bytes) -> None:
        run = RunFolder(tmp_path)
        (tmp_path / STATE).parent.mkdir()
        (tmp_path / STATE).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"state.pt is damaged \(.+\): train into another folder") as raised:
            run.state()
        assert "\n" not in str(raised.value)


class TestBest:
    @pytest.mark.parametrize("renames", [0, 1])
    def test_a_kill_between_old_and_new(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
        with open_run(tmp_path, PLAN) as run:
            run.keep_best(written("old"))
            done, rename = [0], Path.rename

            def counted(self: Path, target: Path) -> Path:
                if done[0] == renames:
                    raise Killed
                done[0] += 1
                return rename(self, target)

            with monkeypatch.context() as patch:
                patch.setattr(Path, "rename", counted)
                with pytest.raises(Killed):
                    run.keep_best(written("new"))
        with open_run(tmp_path, PLAN) as run:
            assert (run.best / "model").read_text() == "old"
            run.keep_best(written("new"))
            assert (run.best / "model").read_text() == "new"
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "best", "plan.json"}


class TestLog:
    def test_what_is_behind_the_checkpoint_goes(self, tmp_path: Path) -> None:
        log = Log(tmp_path, 0, tensorboard=False)
        for step in (1, 2, 3):
            log.add({"kind": "step", "step": step})
        log.close()
        with (tmp_path / "log.jsonl").open("a") as file:
            file.write('{"kind": "step", "st')  # a kill
        assert [one["step"] for one in read_log(tmp_path)] == [1, 2, 3]
        log = Log(tmp_path, 2, tensorboard=False)
        log.add({"kind": "step", "step": 3, "again": True})
        log.close()
        assert [(one["step"], "again" in one) for one in read_log(tmp_path)] == [(1, False), (2, False), (3, True)]

    def test_lines_can_be_followed(self, tmp_path: Path) -> None:
        log = Log(tmp_path, 0, tensorboard=False)
        log.add({"kind": "step", "step": 1})
        assert read_log(tmp_path) == [{"kind": "step", "step": 1}]
        log.close()
