"""A folder that a long piece of work fills part by part: locked while it runs, resumed to the same content.

DIR/plan.json       what the folder was begun with; another plan is refused
DIR/parts/NAME.json what one part came to; once it is there, the part is done
DIR/.lock           held by the run that is writing
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from auricle.errors import InputError
from auricle.jobs.folder import LOCK, locked, refuse_others, replaced, told_when_full

PLAN, PARTS = "plan.json", "parts"


class Job:
    """The folder of a plan, while it is locked: `with open_job(out, plan) as job`."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def done(self, name: str) -> bool:
        return self._part(name).is_file()

    def read(self, name: str) -> Any:
        """What a part came to.

        Raises:
            InputError: that is damaged.
        """
        try:
            return json.loads(self._part(name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{self._part(name)} is damaged ({error}): remove it, and it is made again") from None

    def write(self, name: str, record: Any) -> None:
        (self.out / PARTS).mkdir(exist_ok=True)
        replaced(self._part(name), json.dumps(record, allow_nan=False).encode())

    def names(self) -> list[str]:
        """Of the parts that are done, sorted."""
        return sorted(path.stem for path in (self.out / PARTS).glob("[!.]*.json"))

    def drop(self, name: str) -> None:
        """Makes a part one that isn't done."""
        self._part(name).unlink()

    def _part(self, name: str) -> Path:
        return self.out / PARTS / f"{name}.json"


@contextmanager
def open_job(
    out: Path, plan: Mapping[str, Any], *, free: Collection[str] = (), check: Callable[[Job], None] = lambda job: None
) -> Iterator[Job]:
    """Makes the folder, or goes on with one that has the same plan; keeps other runs out meanwhile.

    Args:
        free: names of the plan that may differ where `check` lets them, which raises an InputError if not.

    Raises:
        InputError: the folder was begun with another plan, holds other files, can't be written to, or another run is
            in it.
        AuricleError: the disk is full; what is done stays.
    """
    with told_when_full(out, "what is done stays"), locked(out):
        kept = read_plan(out)
        wanted = json.loads(json.dumps(plan))
        if kept is None:
            refuse_others(out, PLAN)
            _write_plan(out, wanted)
        elif changed := [name for name in {**kept, **wanted} if kept.get(name) != wanted.get(name)]:
            if name := next((name for name in changed if name not in free), None):
                raise InputError(
                    f"{out} was begun with {name} {_shown(kept.get(name))}, and not {_shown(wanted.get(name))}: "
                    "name another folder, or ask for what it has"
                )
            check(Job(out))
            _write_plan(out, wanted)
        try:
            yield Job(out)
        finally:
            if {path.name for path in out.iterdir()} <= {LOCK, PLAN}:  # nothing came of it, as of a refused one
                (out / PLAN).unlink(missing_ok=True)


def read_plan(out: Path) -> dict[str, Any] | None:
    """The plan that a folder was begun with; None where there is none.

    Raises:
        InputError: it can't be read.
    """
    try:
        found = json.loads((out / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{out / PLAN} is damaged ({error}): name another folder") from None
    if not isinstance(found, dict):
        raise InputError(f"{out / PLAN} is damaged (it is no JSON object): name another folder")
    return found


def _write_plan(out: Path, plan: Mapping[str, Any]) -> None:
    replaced(out / PLAN, (json.dumps(plan, indent=1) + "\n").encode())


def how_far(out: Path, whole: int | None = None) -> str | None:
    """What to tell of a run that was stopped; None where nothing is done."""
    done = len(list((out / PARTS).glob("*.json")))
    parts = f"{done} parts" if whole is None else f"{done} of {whole} parts"
    return f"{parts} are written to {out}: run the same command again to go on" if done else None


def digest(*words: object) -> str:
    """SHA-256 of some words, 64 hexadecimal digits: the same on every machine and in every run."""
    return hashlib.sha256("\0".join(map(str, words)).encode("utf-8", "backslashreplace")).hexdigest()


def generator(*words: object) -> np.random.Generator:
    """Random numbers that depend on these words alone, never on what was drawn before."""
    return np.random.default_rng(int(digest(*words), 16))


def _shown(value: object) -> str:
    words = json.dumps(value, ensure_ascii=False)
    return words if len(words) <= 80 else f"{words[:77]}..."
