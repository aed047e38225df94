"""From annotated recordings to clips: what could be cut is looked at first, then what was chosen is cut."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from auricle.errors import InputError, OptionError, SoundError
from auricle.evaluation.manifest import NAME, file_names, relative, write_manifest
from auricle.evaluation.segments.annotations import Span
from auricle.evaluation.segments.choice import Candidate, chosen
from auricle.evaluation.segments.recordings import Recordings
from auricle.evaluation.segments.regions import places_in, regions_of
from auricle.evaluation.sounds import write_clip
from auricle.jobs.parts import Job, digest, generator, open_job
from auricle.jobs.splits import check_splits, split_of
from auricle.sound.decode import Limits, decode
from auricle.sound.extensions import EXTENSIONS
from auricle.sound.samples import content_hash
from auricle.types import Audio

SOUNDS = "audio"
FORMAT = 1  # of the folder and of the random choices
Progress = Callable[[int, int], None]  # done, and in all: every recording is read twice


@dataclass(frozen=True)
class Cutting:
    """How clips are cut and which are taken."""

    durations: tuple[float, ...] = (20, 40, 60, 80, 100, 200, 500, 1000)  # milliseconds; empty: regions as they are
    margin_s: float = 0.1  # from where a label begins or ends
    labels: Mapping[str, str] | None = None  # from the annotation's words to labels; None keeps the words
    gaps: str | None = None  # the label of what isn't annotated; None leaves it out
    count: int | None = None  # clips of each label and duration (and split); None is all
    per_source: int | None = None  # of these, of one source
    balance: bool = False  # as many of every label
    min_level_db: float | None = -70.0  # a clip that is softer is left out; None keeps it
    splits: Mapping[str, float] | None = None  # shares by name
    dataset: str | None = None
    rate: int = 16_000
    seed: int = 0
    audio: bool = True  # write the clips; otherwise the manifest says where in the recordings they are

    def __post_init__(self) -> None:
        if bad := [one for one in self.durations if not 1 <= one <= 3_600_000]:
            raise OptionError(f"durations has {bad[0]:g}; it must be from 1 to 3600000 milliseconds")
        if len(set(self.durations)) < len(self.durations):
            raise OptionError("durations has one twice: give each once")
        if not 0 <= self.margin_s < 3600:
            raise OptionError(f"margin is {self.margin_s:g}; it must be from 0 to 3600 seconds")
        if self.min_level_db is not None and not self.min_level_db <= 0:  # NaN would let everything in
            raise OptionError(f"min_level is {self.min_level_db:g}; it must be at most 0 dB")
        if self.gaps is not None and not self.gaps.strip():
            raise OptionError("gaps is empty; name the label of what no annotation covers")
        for name in ("count", "per_source"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is {value}; it must be at least 1")
        if not 4000 <= self.rate <= 192_000:
            raise OptionError(f"rate is {self.rate}; it must be from 4000 to 192000 samples a second")
        if not 0 <= self.seed < 1 << 63:
            raise OptionError(f"seed is {self.seed}; it must be a whole number from 0 up")


@dataclass(frozen=True)
class Cut:
    """What came out."""

    rows: tuple[dict[str, Any], ...]  # of the manifest
    counts: tuple[tuple[str, str, float, int, int], ...]  # split, label, duration in ms (0: whole), sources, clips
    skipped: Mapping[str, int]  # reason -> how many
    failures: tuple[dict[str, str], ...]  # recordings that can't be read: recording, reason


def segment(
    spans: Sequence[Span],
    recordings: Recordings,
    out: str | Path,
    cutting: Cutting | None = None,
    *,
    limits: Limits | None = None,
    progress: Progress = lambda done, whole: None,
) -> Cut:
    """Cuts clips into a folder; of one that was begun, does the rest, and ends with the same bits.

    DIR/manifest.parquet has a row for each clip, DIR/audio/RECORDING/CLIP.wav are the clips. Clips of one recording
    never overlap, whatever their durations.

    Raises:
        InputError: no recording is there, no clip comes out, or the folder is of other annotations or settings.
        AuricleError: the disk is full; what is done stays.
    """
    cutting, out, limits = cutting or Cutting(), Path(out), limits or Limits()
    skipped: Counter[str] = Counter()
    mine = _by_recording(spans)
    absent = recordings.missing(mine)
    if len(absent) == len(mine):
        raise InputError(
            f"none of {len(mine)} annotated recordings is in {recordings.folder} ({absent[0]} for instance): name the "
            "folder they are in with --audio"
        )
    if absent:
        skipped[f"recordings that are not in {recordings.folder} ({', '.join(absent[:3])}, ...)"] = len(absent)
    paths = {name: path for name in sorted(mine) if (path := recordings.find(name)) is not None}
    work = _Work(cutting, limits, paths, mine, relative(recordings.folder, out))
    with open_job(out, work.plan()) as job:
        looked = []
        for number, name in enumerate(paths):
            looked.append(_part(job, f"look-{number:05}", partial(work.look, name)))
            progress(number + 1, 2 * len(paths))
        for record in looked:
            skipped.update(record["skipped"])
        failures = [record["failure"] for record in looked if record["failure"]]
        candidates = [Candidate.of(one) for record in looked for one in record["candidates"]]
        taken = chosen(
            candidates, cutting.seed, most=cutting.count, per_source=cutting.per_source, balance=cutting.balance,
            skipped=skipped,
        )  # fmt: skip
        check_splits(((one.source, one.split) for one in taken), "the set")
        if not taken:
            why = "; ".join(f"{count} {reason}" for reason, count in skipped.most_common(3) if count)
            raise InputError(
                f"no clip comes out of {len(spans)} spans ({why or 'all are too short'}): change what is asked"
            )
        files = file_names([_clip_id(one, cutting.rate) for one in taken])
        rows = []
        for number, name in enumerate(paths):
            ours = [one for one in taken if one.recording == name]
            rows += _part(job, f"cut-{number:05}", partial(work.cut, ours, files, out), work.there(out))
            progress(len(paths) + number + 1, 2 * len(paths))
        write_manifest(out / NAME, rows, {"made_by": "auricle segment", **work.plan()})
    return Cut(tuple(rows), _counts(taken), {reason: n for reason, n in skipped.items() if n}, tuple(failures))


@dataclass(frozen=True)
class _Work:
    """What is done to one recording."""

    cutting: Cutting
    limits: Limits
    paths: Mapping[str, Path]
    spans: Mapping[str, list[Span]]
    folder: str  # of the recordings, seen from the output

    def plan(self) -> dict[str, Any]:
        """What the folder is begun with."""
        said = [(name, path.stat().st_size, *map(asdict, self.spans[name])) for name, path in self.paths.items()]
        return {
            "format": FORMAT,
            "cutting": asdict(self.cutting),
            "versions": {"numpy": np.__version__, "soxr": soxr.__version__},
            "recordings": [self.folder, len(self.paths)],
            "content": digest(*said),
        }

    def look(self, name: str) -> dict[str, Any]:
        """What could be cut from a recording."""
        cutting, skipped = self.cutting, Counter[str]()
        try:
            audio = self._decoded(name)
        except SoundError as error:
            return {"candidates": [], "skipped": {}, "failure": {"recording": name, "reason": str(error)}}
        source = self.spans[name][0].source
        split = split_of(source, cutting.splits) if cutting.splits else None
        random = generator("segment", cutting.seed, name)
        found = []
        for region in regions_of(self.spans[name], audio.seconds, cutting.labels, cutting.gaps, skipped):
            places = places_in(region, cutting.durations or (None,), cutting.margin_s, cutting.rate, random)
            if not places:
                skipped["stretches that are too short for any duration, with their margins"] += 1
            for place in places:
                clip = audio.samples[place.first : place.first + place.count]
                if reason := _unfit(clip, cutting):
                    skipped[reason] += 1
                    continue
                found.append(Candidate(name, source, split, region.label, region.category, **asdict(place)))
        return {"candidates": [asdict(one) for one in found], "skipped": dict(skipped), "failure": None}

    def cut(self, taken: Sequence[Candidate], files: Mapping[str, str], out: Path) -> list[dict[str, Any]]:
        """Writes the clips of one recording; gives their rows."""
        if not taken:
            return []
        audio = self._decoded(taken[0].recording)
        return [self._row(one, audio.samples[one.first : one.first + one.count], files, out) for one in taken]

    def there(self, out: Path) -> Callable[[Any], bool]:
        """Whether the files of some rows still are."""
        return lambda rows: not self.cutting.audio or all((out / row["path"]).is_file() for row in rows)

    def _row(self, one: Candidate, samples: Any, files: Mapping[str, str], out: Path) -> dict[str, Any]:
        cutting, rate = self.cutting, self.cutting.rate
        name, recording = _clip_id(one, rate), relative(self.paths[one.recording], out)
        times = (one.first / rate, (one.first + one.count) / rate)
        if cutting.audio:
            path = out / SOUNDS / files[name]
            sha256 = write_clip(path, samples, rate).sha256
            where: dict[str, Any] = {"path": relative(path, out)}
        else:
            sha256 = content_hash(samples)
            where = {"path": recording, "start_s": times[0], "end_s": times[1]}
        return {
            "segment_id": name,
            "clip_id": name,
            **where,
            "source_id": one.source,
            "source_path": recording,
            "source_start_s": times[0],
            "source_end_s": times[1],
            **({"dataset": cutting.dataset} if cutting.dataset else {}),
            **({"split": one.split} if one.split else {}),
            "label": one.label,
            "category": one.category,
            "condition": "clean",
            "duration_ms": 1000 * one.count / rate if one.duration_ms is None else one.duration_ms,
            "rate": rate,
            "seed": cutting.seed,
            "audio_sha256": sha256,
        }

    def _decoded(self, name: str) -> Audio:
        return decode(self.paths[name], rate=self.cutting.rate, limits=self.limits)


def _by_recording(spans: Sequence[Span]) -> dict[str, list[Span]]:
    """
    Raises:
        InputError: a recording has two sources.
    """
    found: dict[str, list[Span]] = {}
    for span in spans:
        mine = found.setdefault(span.recording, [])
        if mine and mine[0].source != span.source:
            raise InputError(
                f"recording {span.recording!r} has the sources {mine[0].source!r} and {span.source!r}: give it one"
            )
        mine.append(span)
    return found


def _unfit(clip: Any, cutting: Cutting) -> str | None:
    """Why a clip can't be used."""
    if not len(clip):
        return "clips past the end of their recording"
    mean_square = float(np.mean(clip.astype(np.float64) ** 2))
    if cutting.min_level_db is not None and mean_square <= 10 ** (cutting.min_level_db / 10):
        return f"clips softer than {cutting.min_level_db:g} dB"
    if cutting.audio and math.ceil(float(np.abs(clip).max()) * 32768) > 32768:
        return "clips beyond full scale, which 16 bits would clip"
    return None


def _clip_id(one: Candidate, rate: int) -> str:
    """The recording, where the clip starts in it, and how long it is."""
    name, _, ending = one.recording.rpartition(".")
    name = name if ending.lower() in EXTENSIONS else one.recording
    return f"{name}/{1000 * one.first // rate:07}ms_{round(1000 * one.count / rate)}ms"


def _counts(taken: Sequence[Candidate]) -> tuple[tuple[str, str, float, int, int], ...]:
    groups: dict[tuple[str, str, float], list[str]] = {}
    for one in taken:
        groups.setdefault(one.cell, []).append(one.source)
    return tuple((*cell, len(set(sources)), len(sources)) for cell, sources in sorted(groups.items()))


def _part(job: Job, name: str, make: Callable[[], Any], holds: Callable[[Any], bool] = lambda record: True) -> Any:
    """What a part came to; made now unless it was, and still holds."""
    if not job.done(name) or not holds(job.read(name)):
        job.write(name, make())
    return job.read(name)
