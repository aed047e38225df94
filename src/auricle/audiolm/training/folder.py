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

from auricle.audiolm.training.log import LOG, TENSORBOARD
from auricle.errors import CheckpointError, InputError
from auricle.jobs.folder import locked, refuse_others, replaced, replacing, synced, told_when_full
from auricle.jobs.parts import PLAN, read_plan

STATE, BEST, RESULT, PICTURE = "checkpoint/state.pt", "best", "result.json", "losses.png"
STAGE_1 = "stage-1"
OLD, NEW = ".best.old", ".best.part"
OF_A_RUN = (BEST, OLD, NEW, LOG, TENSORBOARD, PICTURE, RESULT, "checkpoint")


class RunFolder:
    """Where a run writes, while it is locked: `with open_run(out, plan) as folder`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.best, self.picture = out / BEST, out / PICTURE

    def state(self) -> dict[str, Any] | None:
        """The last checkpoint; None before the first.

        Raises:
            CheckpointError: it is damaged.
        """
        path = self.out / STATE
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever a wrong byte leads it to
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{path} is damaged ({first}): train into another folder, with --init") from None
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
        write(new)
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
        """What a finished run came to."""
        path = self.out / RESULT
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def keep_result(self, result: Mapping[str, Any]) -> None:
        replaced(self.out / RESULT, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())

    def start(self, start_epoch: int) -> str | None:
        """The model that a run which starts in a later epoch goes on from, where the folder has one.

        Raises:
            InputError: it has none.
        """
        if start_epoch == 1:
            return None
        seed = self.out / f"epoch-{start_epoch - 1}.pt"  # as the seed's trainer leaves them
        for path in (seed, self.out / STAGE_1 / BEST):
            if path.exists():
                return str(path)
        raise InputError(
            f"start_epoch is {start_epoch}, and {self.out} has neither {seed.name} nor a run of stage 1 to start from: "
            "name a model with init"
        )


@contextmanager
def open_run(out: Path, plan: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Makes the folder, or goes on with one that has the same plan; keeps other runs out meanwhile.

    A plan of stage 2 that starts in a later epoch may follow one of stage 1, which is put aside.

    Raises:
        InputError: the folder was begun with another plan, holds other files, can't be written to, or another run is
            in it.
        AuricleError: the disk is full; the last checkpoint stays.
    """
    wanted = json.loads(json.dumps(plan))
    with told_when_full(out, "the last checkpoint stays"), locked(out):
        kept = read_plan(out)
        begun = (out / STATE).exists()  # a run that never came to a checkpoint binds nobody
        if begun and kept is not None and _follows(wanted, kept):
            _put_aside(out)
            begun, kept = False, None
        if kept is None:
            seeds = [path.name for path in out.glob("*.pt")] if wanted["start_epoch"] > 1 else []
            refuse_others(out, PLAN, (STAGE_1, *seeds))
        elif begun:
            _refuse_another(out, kept, wanted)
        if not begun:
            replaced(out / PLAN, (json.dumps(wanted, indent=1) + "\n").encode())
        folder = RunFolder(out)
        folder.recover()
        yield folder


def _follows(wanted: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    return kept.get("train_stage") == 1 and wanted["train_stage"] == 2 and wanted["start_epoch"] > 1


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
