"""The folder of a run.

DIR/plan.json       what the run was begun with; another command is refused
DIR/checkpoint/     where it is: weights, optimizer, place in the data; whole, or still the one before
DIR/best/           the model with the lowest validation loss, to be loaded by name
DIR/log.jsonl       what was logged, DIR/tensorboard/ the same, DIR/losses.png a picture of it
DIR/result.json     what the best model comes to on the test items; there when the run is finished
DIR/stage-1/        the run of stage 1 that a run of stage 2 in the same folder started from
DIR/.lock           held by the run that is writing
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from auricle.audiolm.loading import BEST, CHECKPOINT
from auricle.audiolm.training.log import LOG, TENSORBOARD
from auricle.audiolm.training.place import Place
from auricle.errors import AuricleError, CheckpointError, InputError
from auricle.jobs.folder import locked, refuse_others, replaced, replacing, synced, told_when_full
from auricle.jobs.parts import PLAN, read_plan

STATE, RESULT, PICTURE = f"{CHECKPOINT}/state.pt", "result.json", "losses.png"
STAGE_1 = "stage-1"
OLD, NEW = ".best.old", ".best.part"
OF_A_RUN = (BEST, OLD, NEW, LOG, TENSORBOARD, PICTURE, RESULT, CHECKPOINT)
OF_A_STATE = {"place", "window", "model", "optimizer"}
SHOWN = 100  # characters of what torch says of a damaged file


class RunFolder:
    """Where a run writes, while it is locked: `with open_run(out, plan) as folder`.

    Args:
        begun: whether it has come to a checkpoint.
        follows: whether a run of stage 1 is in it that this one, of stage 2, goes on from.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any], *, begun: bool, follows: bool = False) -> None:
        self.out, self._plan, self._begun, self._follows = out, plan, begun, follows
        self.best, self.picture = out / BEST, out / PICTURE

    def begin(self) -> None:
        """Makes the folder this run's, once nothing refuses it any more: puts stage 1 aside and writes the plan."""
        if self._follows:
            _put_aside(self.out)
        if not self._begun:
            replaced(self.out / PLAN, (json.dumps(self._plan, indent=1) + "\n").encode())

    def state(self) -> dict[str, Any] | None:
        """The last checkpoint; None before the first.

        Raises:
            CheckpointError: it is damaged or none of a run's, or the best model that it tells of is gone.
        """
        if not self._begun:
            return None
        path = self.out / STATE
        again = f"remove {path.parent} to begin anew, or train into another folder with init {self.best}"
        try:
            found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever a wrong byte leads it to
            reason = " ".join(str(error).split())[:SHOWN] or type(error).__name__
            raise CheckpointError(f"{path} is damaged ({reason}): {again}") from None
        if not _is_state(found):
            raise CheckpointError(f"{path} is no checkpoint of auricle train: {again}")
        if found["place"]["best_step"] and not self.best.exists():
            raise CheckpointError(
                f"{self.best}, the best model so far, is gone: put it back, or remove {path.parent} to begin anew"
            )
        return found

    def keep_state(self, state: Mapping[str, Any]) -> None:
        """Writes a checkpoint; killed meanwhile, the one before is still there."""
        path = self.out / STATE
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as part:
            torch.save(dict(state), part)

    def keep_best(self, write: Callable[[Path], None]) -> None:
        """Puts a model where the best one was; `write` fills a folder that isn't there yet."""
        new, old = self.out / NEW, self.out / OLD
        shutil.rmtree(new, ignore_errors=True)
        try:
            write(new)
        except AuricleError as error:
            shutil.rmtree(new, ignore_errors=True)
            # Whoever holds the folder tells of a full disk by its name, and not by that of what is hidden in it.
            raise error.__cause__ if isinstance(error.__cause__, OSError) else error from None
        shutil.rmtree(old, ignore_errors=True)
        if self.best.exists():
            self.best.rename(old)
        new.rename(self.best)
        synced(self.out)
        shutil.rmtree(old, ignore_errors=True)

    def recover(self) -> None:
        """After a kill between the two renames of `keep_best`."""
        if not self.best.exists() and (self.out / OLD).exists():
            (self.out / OLD).rename(self.best)
        shutil.rmtree(self.out / NEW, ignore_errors=True)

    def result(self) -> dict[str, Any] | None:
        """What a finished run came to; None where it isn't measured yet.

        Raises:
            CheckpointError: it is damaged.
        """
        path = self.out / RESULT
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            columns = [found["test"][name] for name in ("items", "cross_entropy", "perplexity", "top1", "top10")]
            columns += [found["test"]["baselines"][name]["cross_entropy"] for name in ("unigram", "copy_last")]
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"{path} is damaged ({type(error).__name__}: {error}): remove it, and the same command measures anew"
            ) from None
        return found

    def keep_result(self, result: Mapping[str, Any]) -> None:
        replaced(self.out / RESULT, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())

    def start(self, start_epoch: int, note: Callable[[str], None]) -> str | None:
        """The model that a run which starts in a later epoch goes on from, where the folder has one.

        Args:
            note: called where that model is of a run which isn't finished.

        Raises:
            InputError: it has none.
        """
        if start_epoch == 1:
            return None
        theirs = self.out / f"epoch-{start_epoch - 1}.pt"  # as VALL-E's trainer leaves them
        before = [self.out] * self._follows + [self.out / STAGE_1]
        found = next((path for path in (theirs, *(one / BEST for one in before)) if path.exists()), None)
        if found is None:
            raise InputError(
                f"start_epoch is {start_epoch}, and {self.out} has neither {theirs.name} nor a model of stage 1 to "
                "start from: name a model with init"
            )
        if found != theirs and not any((one / RESULT).exists() for one in before):
            note(f"stage 1 is not finished: stage 2 starts from its best model so far, {found}")
        return str(found)


def _is_state(found: Any) -> bool:
    if not isinstance(found, dict) or not found.keys() >= OF_A_STATE or not isinstance(found["place"], dict):
        return False
    return found["place"].keys() == Place(1).record().keys()


@contextmanager
def open_run(out: Path, plan: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Makes the folder, or goes on with one that has the same plan; keeps other runs out meanwhile.

    A plan of stage 2 that starts in a later epoch may follow one of stage 1. Nothing is changed before `begin`.

    Raises:
        InputError: the folder was begun with another plan, holds other files, can't be written to, or another run is
            in it.
        AuricleError: the disk is full; the last checkpoint stays.
    """
    wanted = json.loads(json.dumps(plan))
    with told_when_full(out, "the last checkpoint stays"), locked(out):
        kept = read_plan(out)
        begun = (out / STATE).exists()  # a run that never came to a checkpoint binds nobody
        follows = begun and kept is not None and _follows(wanted, kept)
        _check_stage_1(out, wanted, follows)
        if kept is None:
            _refuse_without_plan(out, wanted)
        elif begun and not follows:
            _refuse_another(out, kept, wanted)
        folder = RunFolder(out, wanted, begun=begun and not follows, follows=follows)
        folder.recover()
        yield folder


def _follows(wanted: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    return kept.get("train_stage") == 1 and wanted["train_stage"] == 2 and wanted["start_epoch"] > 1


def _check_stage_1(out: Path, wanted: Mapping[str, Any], follows: bool) -> None:
    """Before a second run of stage 1 would come to lie where one is."""
    aside = out / STAGE_1
    if (follows and (aside / PLAN).exists()) or (wanted["train_stage"] == 1 and aside.exists()):
        raise InputError(
            f"{aside} holds a run of stage 1 already: train stage 2 of it, name another folder, or move it elsewhere"
        )


def _refuse_without_plan(out: Path, wanted: Mapping[str, Any]) -> None:
    if (out / STATE).exists():
        raise InputError(
            f"{out} holds a run without its {PLAN}: put that back, or name another folder; init {out / BEST} starts "
            "from its model"
        )
    theirs = [path.name for path in out.glob("*.pt")] if wanted["start_epoch"] > 1 else []
    refuse_others(out, PLAN, (STAGE_1, *theirs))


def _put_aside(out: Path) -> None:
    """What tells that it was begun at last: killed meanwhile, the next run goes on with it."""
    (out / STAGE_1).mkdir(exist_ok=True)
    for name in (*OF_A_RUN, PLAN):
        if (out / name).exists():
            (out / name).replace(out / STAGE_1 / name)
    synced(out)


def _refuse_another(out: Path, kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if kept.get(name) != value:
            raise InputError(
                f"{out} was begun with {name} {_shown(kept.get(name))}, and not {_shown(value)}: name another folder, "
                f"or give the same command; init {out / BEST} starts from its model"
            )


def _shown(value: object) -> str:
    if isinstance(value, dict):  # of splits: how many items of each, and a hash of which
        return " and ".join(f"{count} {split} items ({which})" for split, (count, which) in value.items())
    return json.dumps(value, ensure_ascii=False)
