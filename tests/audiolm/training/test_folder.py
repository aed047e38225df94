"""The folder of a run: whole after a kill at any time, and of one run alone."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.audiolm.training import folder as module
from auricle.audiolm.training.folder import STAGE_1, STATE, RunFolder, open_run
from auricle.audiolm.training.log import Log, read_log
from auricle.audiolm.training.place import Place
from auricle.errors import AuricleError, CheckpointError, InputError
from auricle.jobs.folder import told_when_full

AT_1 = {"place": Place(1, step=1).record(), "window": {}, "model": {}, "optimizer": {}}
PLAN = {"train_stage": 0, "start_epoch": 1, "seed": 0, "prompt_fraction": (0.1, 0.2)}


def written(content: str) -> Any:
    def write(path: Path) -> None:
        path.mkdir()
        (path / "model").write_text(content)

    return write


class Killed(BaseException):
    pass


def ignored(message: str) -> None:
    pass


def killed(*arguments: Any) -> None:
    raise Killed


class TestPlan:
    def test_the_same_one_goes_on(self, tmp_path: Path) -> None:
        for _ in range(2):
            with open_run(tmp_path / "run", PLAN) as run:
                run.begin()

    def test_another_one_is_refused(self, tmp_path: Path) -> None:
        with open_run(tmp_path, PLAN) as run:
            run.begin()
            run.keep_state(AT_1)
        with (
            pytest.raises(InputError, match="was begun with seed 0, and not 1"),
            open_run(tmp_path, {**PLAN, "seed": 1}),
        ):
            pass

    def test_before_the_first_checkpoint_it_binds_nobody(self, tmp_path: Path) -> None:
        """A mistyped command leaves a plan; the right one takes its place."""
        for seed in (0, 1):
            with open_run(tmp_path, {**PLAN, "seed": seed}) as run:
                run.begin()
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

    def test_of_a_refused_run_nothing_stays(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="mistyped"), open_run(tmp_path / "exp" / "run", PLAN):
            raise InputError("mistyped")
        assert not (tmp_path / "exp").exists()

    @pytest.mark.parametrize("content", ["[]", "3", "{", ""])
    def test_a_damaged_plan(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(InputError, match=r"plan.json is damaged \(.+\): name another"), open_run(tmp_path, PLAN):
            pass

    def test_a_lost_plan(self, tmp_path: Path) -> None:
        with open_run(tmp_path, PLAN) as run:
            run.keep_state(AT_1)
        with pytest.raises(InputError, match=r"holds a run without its plan.json: put"), open_run(tmp_path, PLAN):
            pass


class TestStages:
    FIRST, LATER = {**PLAN, "train_stage": 1}, {**PLAN, "train_stage": 2, "start_epoch": 3}

    @pytest.fixture
    def stage_1(self, tmp_path: Path) -> Path:
        with open_run(tmp_path, self.FIRST) as run:
            run.begin()
            run.keep_best(written("first"))
            run.keep_state(AT_1)
        return tmp_path

    def test_stage_1_is_put_aside_whole(self, stage_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where the move is broken off after the first file."""
        with monkeypatch.context() as patch:
            patch.setattr(module, "synced", killed)
            patch.setattr(module, "OF_A_RUN", ("best",))
            patch.setattr(module, "PLAN", "none")
            with pytest.raises(Killed), open_run(stage_1, self.LATER) as run:
                run.begin()
        assert not (stage_1 / "best").exists()
        with open_run(stage_1, self.LATER) as run:
            assert run.state() is None
            assert run.start(3, ignored) == str(stage_1 / STAGE_1 / "best")
            run.begin()
        assert {path.name for path in (stage_1 / STAGE_1).iterdir()} == {"best", "checkpoint", "plan.json"}

    def test_it_is_left_where_it_is_while_stage_2_may_be_refused(self, stage_1: Path) -> None:
        notes = list[str]()
        with open_run(stage_1, self.LATER) as run:
            assert run.state() is None
            assert run.start(3, notes.append) == str(stage_1 / "best")
        assert notes == [
            f"stage 1 is not finished: stage 2 starts from its best model so far, {stage_1 / 'best'}",
        ]
        with open_run(stage_1, self.FIRST) as run:
            assert run.state() is not None

    def test_two_runs_of_stage_1(self, stage_1: Path) -> None:
        with open_run(stage_1, self.LATER) as run:
            run.begin()
        with pytest.raises(InputError, match="stage-1 holds a run of stage 1 already"), open_run(stage_1, self.FIRST):
            pass
        copied = json.dumps(self.FIRST)
        (stage_1 / "plan.json").write_text(copied)
        RunFolder(stage_1, self.FIRST, begun=True).keep_state(AT_1)
        with pytest.raises(InputError, match="stage-1 holds a run of stage 1 already"), open_run(stage_1, self.LATER):
            pass

    def test_a_finished_stage_2_is_not_followed(self, tmp_path: Path) -> None:
        with open_run(tmp_path, {**PLAN, "train_stage": 2}) as run:
            run.begin()
            run.keep_state(AT_1)
        with (
            pytest.raises(InputError, match="train_stage 2, and not 1"),
            open_run(tmp_path, {**PLAN, "train_stage": 1}),
        ):
            pass


class TestCheckpoint:
    def test_a_kill_while_it_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with open_run(tmp_path, PLAN) as run:
            assert run.state() is None
            run.begin()
            run.keep_state(AT_1)

            def half(state: Any, path: Path) -> None:
                path.write_bytes(b"half")
                raise Killed

            with monkeypatch.context() as patch:
                patch.setattr(torch, "save", half)
                with pytest.raises(Killed):
                    run.keep_state({**AT_1, "window": 2})
        with open_run(tmp_path, PLAN) as run:
            assert run.state() == AT_1

    @pytest.mark.parametrize("content", [b"", b"half a file", b"PK\x03\x04" + bytes(100)])
    def test_a_damaged_one(self, tmp_path: Path, content: bytes) -> None:
        run = RunFolder(tmp_path, PLAN, begun=True)
        (tmp_path / STATE).parent.mkdir()
        (tmp_path / STATE).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"state.pt is damaged \(.+\): remove .+ to begin anew") as raised:
            run.state()
        assert "\n" not in str(raised.value)
        assert len(str(raised.value).replace(str(tmp_path), "")) < 250

    @pytest.mark.parametrize("content", [[], {}, {"model": {}}, {**AT_1, "place": {"step": 1}}])
    def test_a_foreign_one(self, tmp_path: Path, content: Any) -> None:
        run = RunFolder(tmp_path, PLAN, begun=True)
        run.keep_state(AT_1)
        torch.save(content, tmp_path / STATE)
        with pytest.raises(CheckpointError, match=r"state.pt is no checkpoint of auricle train: remove"):
            run.state()

    def test_the_best_model_is_gone(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path, PLAN, begun=True)
        run.keep_state({**AT_1, "place": Place(1, step=2, best_step=1).record()})
        with pytest.raises(CheckpointError, match="best, the best model so far, is gone: put it back"):
            run.state()


class TestResult:
    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"test": {"items": 3}}', '{"test": 1}'])
    def test_a_damaged_one(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "result.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"result.json is damaged \(.+\): remove it, and"):
            RunFolder(tmp_path, PLAN, begun=True).result()


class TestBest:
    @pytest.mark.parametrize("renames", [0, 1])
    def test_a_kill_between_old_and_new(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
        with open_run(tmp_path, PLAN) as run:
            run.begin()
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

    def test_a_full_disk_is_told_by_the_runs_name(self, tmp_path: Path) -> None:
        def full(path: Path) -> None:
            path.mkdir()
            with told_when_full(path, "the model is not written"):
                raise OSError(errno.ENOSPC, "full")

        message = f"the disk of {tmp_path} is full; the last checkpoint stays"
        with pytest.raises(AuricleError, match=message), open_run(tmp_path, PLAN) as run:
            run.keep_best(full)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


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

    @pytest.mark.parametrize("line", [b"{", b"\xff", b"3", b"{}", b'{"kind": "step", "step": "x"}'])
    def test_a_damaged_line(self, tmp_path: Path, line: bytes) -> None:
        (tmp_path / "log.jsonl").write_bytes(b'{"kind": "step", "step": 1}\n' + line + b"\n")
        with pytest.raises(CheckpointError, match=r"log.jsonl, line 2, is damaged \(.+\): remove the line"):
            read_log(tmp_path)
