"""Makes the set: what isn't done yet of its plan, part after part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auricle.errors import InputError, SoundError
from auricle.evaluation.degrade.chain import Chain, Degraded
from auricle.evaluation.degrade.conditions import Condition
from auricle.evaluation.degrade.plan import Plan, Progress, Surveyed
from auricle.evaluation.manifest import COLUMNS, NAME, OF_A_CLIP, relative, write_manifest
from auricle.evaluation.sounds import HEADER_BYTES, read_clip, write_clip
from auricle.jobs.folder import replaced
from auricle.jobs.parts import Job, open_job
from auricle.sound.samples import content_hash

FAILURES = "failures.jsonl"
SOUNDS = "audio"
OWN = COLUMNS.keys() - set(OF_A_CLIP)  # what a row of ours says itself
# What the row of a clip may say of itself, and is said anew of what is made of it.
REPLACED = {"condition", "duration_ms", "length_ms", "onset_ms", "rate", "seed", "pad", "peak", "audio_sha256"}


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    files: int  # in the manifest
    computed: int  # of these, in this run
    failures: tuple[dict[str, Any], ...]  # clip_id, condition, path, reason
    skipped: int  # combinations whose clip was too short
    lowered: int  # files that were scaled to fit full scale
    most_lowered_db: float


def degrade(plan: Plan, out: str | Path, progress: Progress = lambda done, whole: None) -> Outcome:
    """Writes the set into a folder; of one that was begun, does the rest, and ends with the same bits.

    DIR/audio/CONDITION/CLIP.wav, DIR/manifest.parquet with a row for each, DIR/failures.jsonl.

    Args:
        plan: what `survey` gives.
        progress: called with how many files are done, and how many there will be.

    Raises:
        InputError: the folder is of another plan or holds other files; a clip has a column that is written here.
        AuricleError: the disk is full; what is done stays.
    """
    out = Path(out)
    for one in plan.clips:
        if taken := sorted(one.clip.more.keys() & OWN - REPLACED):
            raise InputError(f"clip {one.clip.clip_id} has a column {taken[0]!r}, which is written here: rename it")
    rows: list[dict[str, Any]] = []
    failures = [{"condition": None, **one} for one in plan.unreadable]
    computed = 0
    with open_job(out, plan.as_json()) as job:
        for number, part in enumerate(plan.parts):
            name = f"{number:05}"
            record = job.read(name) if job.done(name) else None
            if record is None or not _all_there(out, record["rows"]):
                record = _made(plan, part, out, progress, len(rows))
                job.write(name, record)
                computed += len(record["rows"])
            rows += record["rows"]
            failures += record["failures"]
            progress(len(rows) + len(failures) - len(plan.unreadable), plan.files)
        _finish(job, plan, rows, failures)
    lowered = [-row["scale_db"] for row in rows if row["scale_db"]]
    return Outcome(len(rows), computed, tuple(failures), plan.skipped, len(lowered), max(lowered, default=0.0))


def _made(plan: Plan, part: tuple[Surveyed, ...], out: Path, progress: Progress, before: int) -> dict[str, Any]:
    """Writes the files of some clips; gives their rows, and what failed."""
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for one in part:
        clip = one.clip
        samples = read_clip(clip, plan.factors.rate, plan.limits)
        if content_hash(samples) != one.sha256:
            raise InputError(
                f"{clip.path} has changed while the set was made: run the command again, into a new folder"
            )
        chain = Chain(samples, one.sha256, clip.split, plan.factors, plan.settings, plan.noises)
        for condition in plan.conditions:
            if not plan.fits(one, condition):
                continue
            try:
                done = chain.under(condition)
            except SoundError as error:
                reason = f"clip {clip.clip_id}, {condition.name}: {error}"
                failures.append(
                    {"condition": condition.name, "clip_id": clip.clip_id, "path": clip.path, "reason": reason}
                )
            else:
                # Not in the try: a file that can't be written says nothing of its clip, and is made by the next run.
                rows.append(_written(done, one, condition, plan, out))
            progress(before + len(rows) + len(failures), plan.files)
    return {"rows": rows, "failures": failures}


def _written(done: Degraded, one: Surveyed, condition: Condition, plan: Plan, out: Path) -> dict[str, Any]:
    """Writes a file; gives its row."""
    path = out / SOUNDS / condition.name / one.file
    written = write_clip(path, done.samples, plan.factors.rate)
    clip = one.clip
    kept = {name: value for name, value in clip.more.items() if name not in OWN}
    if "source_path" in kept:
        kept["source_path"] = relative(kept["source_path"], out)
    return {
        **kept,
        **done.columns,
        "segment_id": f"{condition.name}/{clip.clip_id}",
        "clip_id": clip.clip_id,
        "path": relative(path, out),
        "source_id": clip.source_id,
        **({} if clip.label is None else {"label": clip.label}),
        **({} if clip.split is None else {"split": clip.split}),
        "peak": written.peak,
        "clean_sha256": one.sha256,
        "audio_sha256": written.sha256,
    }


def _all_there(out: Path, rows: list[dict[str, Any]]) -> bool:
    """Whether every file is still there, as long as it was written."""
    for row in rows:
        path = out / row["path"]
        if not path.is_file() or path.stat().st_size != HEADER_BYTES + 2 * round(row["length_ms"] * row["rate"] / 1000):
            return False
    return True


def _finish(job: Job, plan: Plan, rows: list[dict[str, Any]], failures: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in failures)
    replaced(job.out / FAILURES, lines.encode("utf-8", "backslashreplace"))
    if rows:
        write_manifest(job.out / NAME, rows, provenance(plan))


def provenance(plan: Plan) -> Mapping[str, Any]:
    """What the manifest says in its metadata of how it was made."""
    return {"made_by": "auricle degrade", **plan.as_json()}
