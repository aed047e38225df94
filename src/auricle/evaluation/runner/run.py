"""Asks about every clip of a manifest: rows are written as they come, and a run that was broken off goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from auricle.errors import AuricleError, InputError
from auricle.evaluation.manifest import Clip, relative
from auricle.evaluation.runner.hearing import PLACES, answer, columns_of, hear, hear_all
from auricle.evaluation.runner.rows import TABLE, Row, Rows, write_table
from auricle.evaluation.runner.tasks import Task
from auricle.jobs.ahead import made_ahead
from auricle.jobs.parts import open_job
from auricle.sound.decode import Limits
from auricle.types.checks import require

BATCH = 32
IN_A_ROW = 20  # errors, after which it is not the clips that are wrong

Progress = Callable[[int, int], None]  # clips done, and in all


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    rows: Sequence[Row]  # of every clip, in the manifest's order
    asked: int  # in this run; the others were there
    again: int  # of these, how many had a row of another sound, or of another row of the manifest

    @property
    def errors(self) -> int:
        return sum(row["error"] is not None for row in self.rows)


def evaluate(
    clips: Sequence[Clip],
    task: Task,
    out: str | Path,
    *,
    batch: int = BATCH,
    retry_errors: bool = False,
    in_a_row: int = IN_A_ROW,
    limits: Limits | None = None,
    answers: Callable[[Sequence[Sequence[Clip]]], Iterator[list[Row]]] | None = None,
    progress: Progress = lambda done, whole: None,
    session: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Outcome:
    """Asks a task about clips, into a folder; of one that was begun, what isn't there yet.

    A clip that can't be read or answered gets a row that says why, and is no answer. A row is known by its clip's
    samples and its row in the manifest: if either has changed since, it is asked again.

    Args:
        batch: clips that are asked about together.
        retry_errors: ask again about clips whose rows are errors.
        in_a_row: after so many errors one after the other the run stops; 0 is never.
        answers: gives the rows of batches, in any order, instead of this process: a cluster.
        session: entered while the folder is this run's; see `about.session`.

    Raises:
        InputError: the clips lack what the task needs, or the folder is of another run.
        AuricleError: the disk is full, or too many errors in a row; what is written stays.
    """
    require(batch >= 1, "batch", batch, "at least 1")
    require(in_a_row >= 0, "max_errors", in_a_row, "at least 0 (0 never stops)")
    folder, limits = Path(out), limits or Limits()
    task.check(clips)
    _check_text(clips)
    with open_job(folder, task.plan()), session():
        rows = Rows(folder)
        kept = {name: row for name, row in rows.read().items() if not (retry_errors and row["error"])}
        done = {clip.segment_id: kept[clip.segment_id] for clip in clips if _same(clip, kept, task.rate, limits)}
        left = [clip for clip in clips if clip.segment_id not in done]
        again = sum(clip.segment_id in kept for clip in left)
        progress(len(done), len(clips))
        if left:
            (folder / TABLE).unlink(missing_ok=True)  # of rows that are no longer all
            batches = [left[first : first + batch] for first in range(0, len(left), batch)]
            failing = _Failing(in_a_row)
            for new in (answers or partial(_asked_here, task, limits))(batches):
                added = rows.add({**row, **_places(row, folder)} for row in new)
                done.update((row["segment_id"], row) for row in added)
                progress(len(done), len(clips))
                failing.see(added)
        # Sounds or the folder may have moved since a row was written.
        whole = [{**done[clip.segment_id], **_places(columns_of(clip), folder)} for clip in clips]
        write_table(folder, whole, task.plan())
    return Outcome(whole, len(left), again)


def _asked_here(task: Task, limits: Limits, batches: Sequence[Sequence[Clip]]) -> Iterator[list[Row]]:
    """The rows of each batch; the next one's files are read while the task is busy with this one."""
    for heard in made_ahead(partial(hear_all, rate=task.rate, limits=limits), batches):
        yield answer(task, heard)


def _check_text(clips: Sequence[Clip]) -> None:
    """
    Raises:
        InputError: a row has half of a character, which JSON can hold and a table can't.
    """
    for clip in clips:
        try:
            json.dumps(columns_of(clip), ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"clip {clip.clip_id!a} has the character U+{ord(error.object[error.start]):04X} in its row, which no "
                "text may have: mend the manifest"
            ) from None


def _places(row: Mapping[str, Any], folder: Path) -> Row:
    """Where a row's files lie, as seen from the run's folder."""
    return {name: relative(row[name], folder) for name in PLACES if row.get(name) is not None}


def _same(clip: Clip, kept: Mapping[str, Row], rate: int, limits: Limits) -> bool:
    """Whether there is a row for the clip as it is now."""
    row = kept.get(clip.segment_id)
    return row is not None and row["row_id"] == hear(clip, rate, limits).row_id


class _Failing:
    """Counts errors one after the other: a server that is down shouldn't fill a folder with them."""

    def __init__(self, most: int) -> None:
        self.most, self.count = most, 0

    def see(self, rows: Sequence[Row]) -> None:
        """
        Raises:
            AuricleError: they are too many.
        """
        for row in rows:
            self.count = self.count + 1 if row["error"] else 0
            if self.most and self.count >= self.most:
                raise AuricleError(
                    f"{self.count} clips in a row have no answer; the last: {row['error']} (mend that and ask again "
                    "with --retry-errors, or let --max-errors 0 go on)"
                )
