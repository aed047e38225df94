"""From clips to rows: what one process does with a batch, on this machine or on any of a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from auricle.errors import AuricleError, SoundError
from auricle.evaluation.manifest import Clip
from auricle.evaluation.runner.rows import Row, results_of
from auricle.evaluation.runner.tasks import Columns, Task
from auricle.evaluation.sounds import read_clip
from auricle.jobs.parts import digest
from auricle.sound.decode import Limits
from auricle.sound.samples import content_hash
from auricle.types import Audio

RATES = range(1_000, 384_001)  # of samples a second
PLACES = ("path", "source_path")  # where files lie, which may change; what is in them may not


@dataclass(frozen=True)
class Heard:
    """A clip as it was read, or why it wasn't."""

    clip: Clip
    sound: Audio | SoundError
    sha256: str | None
    read_ms: float

    @property
    def row_id(self) -> str:
        """Of the clip's samples and its row in the manifest."""
        said = {name: value for name, value in columns_of(self.clip).items() if name not in PLACES}
        return digest(self.sha256, json.dumps(said, sort_keys=True, default=str))


def columns_of(clip: Clip) -> Row:
    """A clip's row in the manifest."""
    own = ("segment_id", "clip_id", "path", "source_id", "label", "split", "start_s", "end_s")
    return {**{name: getattr(clip, name) for name in own}, **clip.more}


def hear_all(clips: Sequence[Clip], rate: int, limits: Limits) -> list[Heard]:
    return [hear(clip, rate, limits) for clip in clips]


def hear(clip: Clip, rate: int, limits: Limits) -> Heard:
    """Reads a clip, at the manifest's rate if it has one, and sees that it is the one that the manifest means."""
    begun = perf_counter()
    rate = int(clip.more.get("rate") or rate)
    sha256 = None
    try:
        if rate not in RATES:
            raise SoundError(
                f"clip {clip.clip_id} has rate {rate}, which is not {RATES[0]} to {RATES[-1]}: mend the manifest"
            )
        samples = read_clip(clip, rate, limits).astype(np.float32)
        sha256 = content_hash(samples)
        said = clip.more.get("audio_sha256")
        if said not in (None, sha256) and "rate" in clip.more:
            raise SoundError(
                f"{clip.path} has other samples than when the manifest was made (SHA-256 {sha256[:12]}..., and not "
                f"{said[:12]}...): make both anew"
            )
        sound: Audio | SoundError = Audio(samples, rate, clip.path)
    except SoundError as error:
        sound = error
    return Heard(clip, sound, sha256, 1000 * (perf_counter() - begun))


def answer(task: Task, heard: Sequence[Heard]) -> list[Row]:
    """A row for each clip: the manifest's columns, the task's, and who was asked."""
    good = [one for one in heard if isinstance(one.sound, Audio)]
    begun = perf_counter()
    found = task.ask([one.clip for one in good], [one.sound for one in good if isinstance(one.sound, Audio)])
    each_ms = 1000 * (perf_counter() - begun) / max(len(good), 1)
    answers: dict[str, Columns | AuricleError] = {
        one.clip.segment_id: found for one, found in zip(good, found, strict=True)
    }
    plan = task.plan()
    who = {"model": plan.get("model"), "model_revision": plan.get("revision")}
    results = results_of(plan.get("labels", ()))
    rows = []
    for one in heard:
        got = one.sound if isinstance(one.sound, SoundError) else answers[one.clip.segment_id]
        carried = {name: value for name, value in columns_of(one.clip).items() if name not in results}
        row: Row = {**carried, **task.empty(one.clip), **who, "row_id": one.row_id}
        row["audio_sha256"] = one.sha256
        if isinstance(got, AuricleError):
            row["error"] = str(got)
        else:
            latency = {"latency_ms": one.read_ms + each_ms, "batch": len(good)}
            row |= {**got, "preprocess_ms": one.read_ms + got["preprocess_ms"], **latency, "error": None}
        rows.append(row)
    return rows
