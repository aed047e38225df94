"""Sounds to a folder of codes: what isn't done yet of its plan, shard after shard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from auricle.audiolm.codecs import DEFAULT, Codec, load_codec
from auricle.audiolm.data.encoding import Encoded, How, encode_all, probe
from auricle.audiolm.data.outcome import Outcome, finish
from auricle.audiolm.data.shards import archive_name, cut_of, pieces, write_archive
from auricle.audiolm.data.sounds import Sound
from auricle.errors import InputError, OptionError
from auricle.jobs.extras import needed
from auricle.jobs.parts import Job, digest, open_job
from auricle.jobs.processes import cores
from auricle.sound.decode import Limits
from auricle.sound.files import fingerprint
from auricle.types.checks import require

OF_SOUNDS = ("sounds", "list of sounds", "content of the sounds")  # names of the plan
FORMAT = 2  # of the folder; another gives other files
MOST_WORKERS = 8  # unless more are asked for: each holds torch and the codec
BYTES_OF_A_WORKER = 4_000_000  # of files, minutes of sound: for less, one takes longer to start than it saves

Progress = Callable[[int, int], None]  # sounds done, and in all


@dataclass(frozen=True)
class Settings:
    """How sounds become items.

    Raises:
        OptionError: a value outside its range.
    """

    codec: str = DEFAULT
    clip: float = (
        15.0  # seconds of an item, at most: a longer sound becomes several of like length; 0: sounds stay whole
    )
    shard: int = 500  # items of an archive; one sound's stay together
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        require(0 <= self.clip < math.inf, "clip", self.clip, "a number of seconds, or 0 to keep sounds whole")
        require(self.shard >= 1, "shard", self.shard, "at least 1")


def tokenize(
    sounds: Sequence[Sound],
    out: str | Path,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress = lambda done, whole: None,
) -> Outcome:
    """Writes the codes of sounds into a folder; of one that was begun, does the rest, and ends with the same bits.

    Sounds may have come, gone or changed since it was begun, but none that has codes there: a bad one may be mended.

    Args:
        sounds: what `gather` gives.
        workers: processes; unless given, as many as there are cores, 8 at most, and one on another device than a CPU.
            How many makes no difference to what is written.
        cluster: address of a Ray cluster whose processes they are; "local" starts one here.

    Raises:
        InputError: the folder was begun with other sounds or settings, holds other files, or can't be written to.
        CheckpointError, HubError, DeviceError: there is no such codec or device.
        AuricleError: the disk is full, or a worker was killed; what is done stays.
    """
    settings, out = settings or Settings(), Path(out)
    require(workers is None or workers >= 1, "workers", workers, "at least 1")
    needed("h5py", "writing codes", "train")
    codec = load_codec(settings.codec, device=settings.device)
    most = _frames(settings, codec)
    names = {sound.id: _name(sound) for sound in sounds}
    plan = _plan(sounds, names, settings, codec)
    with open_job(out, plan, free=OF_SOUNDS, check=lambda job: _check_done(job, names)) as job:
        records = _kept(job, list(names.items()))
        first = records[-1]["end"] if records else 0
        left = sounds[first:]
        how = How(settings.codec, settings.device, settings.limits)
        progress(first, len(sounds))
        with closing(encode_all(left, codec, how, workers or _workers(left, codec), cluster)) as stream:
            for shard in _shards(left, stream, settings.shard, most, lambda n: progress(first + n, len(sounds))):
                records.append(_written(job, records, first, shard, names, codec))
        return finish(job, records, len(sounds), len(left))


def _frames(settings: Settings, codec: Codec) -> int:
    """The most that an item may have; 0 is no limit."""
    frames = int(settings.clip * codec.frame_rate + 1e-6)
    if settings.clip and not frames:
        raise OptionError(
            f"clip is {settings.clip:g} s, and a frame of {codec.name} has {1 / codec.frame_rate:g}: raise it"
        )
    return frames


def _workers(sounds: Sequence[Sound], codec: Codec) -> int:
    if codec.device.type != "cpu":
        return 1
    files = {Path(sound.path) for sound in sounds}
    size = sum(path.stat().st_size for path in files if path.is_file())
    return max(1, min(cores(), MOST_WORKERS, size // BYTES_OF_A_WORKER))


def _plan(sounds: Sequence[Sound], names: Mapping[str, str], settings: Settings, codec: Codec) -> dict[str, Any]:
    """What the folder is begun with; another is another folder."""
    asked = {name: value for name, value in asdict(settings).items() if name not in ("limits", "device")}
    shape = {name: getattr(codec, name) for name in ("rate", "frame", "codebooks", "size")}
    return {
        "format": FORMAT,
        **asked,
        **asdict(settings.limits),
        "codec is": {**shape, "codes of a test sound": probe(codec)},
        "sounds": len(sounds),
        "list of sounds": digest(*map(_described, sounds)),
        "content of the sounds": digest(*names.values()),
    }


def _described(sound: Sound) -> str:
    return digest(sound.id, sound.source, sound.split, sound.start_s, sound.end_s, sound.cut)


def _name(sound: Sound) -> str:
    """A sound and its content, as records tell it from others."""
    return digest(_described(sound), fingerprint(sound.path).hex())[:16]


def _check_done(job: Job, names: Mapping[str, str]) -> None:
    """Whether every sound that has codes is still asked for, as it was.

    Raises:
        InputError: one isn't.
    """
    for record in map(job.read, job.names()):
        bad = {one["id"] for one in record["failures"]}
        for sound, kept in record["sounds"].items():
            if sound not in bad and names.get(sound) != kept:
                what = "has changed since, or its split has" if sound in names else "is not among the sounds"
                raise InputError(
                    f"{job.out} was begun with other sounds ({sound!r} {what}): name another folder, or give the same; "
                    "only those that could not be read may be mended or left out"
                )


# --- shards


@dataclass
class _Shard:
    """Consecutive sounds of a split whose items make an archive."""

    first: int  # sound, among those left
    done: list[tuple[Sound, Encoded, list[tuple[int, int]]]] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.done)

    @property
    def items(self) -> int:
        return sum(len(spans) for _, _, spans in self.done)

    def takes(self, sound: Sound, spans: Sequence[Any], most: int) -> bool:
        """Whether a sound belongs into it; so many sounds make one too, lest a row of bad ones is never recorded."""
        if not self.done:
            return True
        return self.done[0][0].split == sound.split and self.items + len(spans) <= most and len(self.done) < most


def _shards(
    sounds: Sequence[Sound], stream: Iterator[Encoded], most_items: int, most_frames: int, tell: Callable[[int], None]
) -> Iterator[_Shard]:
    """Where one ends follows from the sounds in their order, and not from who encodes them or how far a run came."""
    shard = _Shard(0)
    for number, (sound, done) in enumerate(zip(sounds, stream, strict=True)):
        spans = [] if done.codes is None else pieces(len(done.codes), most_frames)
        if not shard.takes(sound, spans, most_items):
            yield shard
            shard = _Shard(number)
        shard.done.append((sound, done, spans))
        tell(number + 1)
    if shard.done:
        yield shard


def _written(
    job: Job,
    records: Sequence[dict[str, Any]],
    offset: int,
    shard: _Shard,
    names: Mapping[str, str],
    codec: Codec,
) -> dict[str, Any]:
    """Writes the archive of a shard, then what says that it is there; gives that."""
    split = shard.done[0][0].split or ""
    name = archive_name(split, sum(record["split"] == split and record["archive"] is not None for record in records))
    arrays: dict[str, Any] = {}
    cuts, failures, mixed = [], [], 0
    for sound, done, spans in shard.done:
        if done.codes is None:
            failures.append({"id": sound.id, "path": sound.path, "reason": done.reason})
            continue
        mixed += done.channels > 1
        for first, end in spans:
            key = f"{len(arrays):05}"
            arrays[key] = done.codes[first:end]
            cuts.append(cut_of(sound, done, (first, end), (name, key), codec))
    record = {
        "sounds": {sound.id: names[sound.id] for sound, _, _ in shard.done},
        "first": offset + shard.first,
        "end": offset + shard.end,
        "split": split,
        "archive": name if arrays else None,
        "bytes": write_archive(job.out / name, arrays) if arrays else 0,
        "cuts": cuts,
        "failures": failures,
        "cut": sum(len(spans) > 1 for _, _, spans in shard.done),
        "mixed": mixed,
    }
    job.write(f"{len(records):05}", record)
    return record


def _kept(job: Job, names: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """What earlier runs wrote, up to the first shard whose archive isn't there as it was written, or of other sounds.

    Args:
        names: the sounds in order, each with what tells it from others.
    """
    records: list[dict[str, Any]] = []
    while job.done(name := f"{len(records):05}"):
        record = job.read(name)
        archive = None if record["archive"] is None else job.out / record["archive"]
        if archive is not None and not (archive.is_file() and archive.stat().st_size == record["bytes"]):
            break
        if list(record["sounds"].items()) != names[record["first"] : record["end"]]:
            break
        records.append(record)
    for name in job.names()[len(records) :]:  # what follows is made anew
        archive = job.read(name)["archive"]
        job.drop(name)
        if archive is not None and archive not in {record["archive"] for record in records}:
            (job.out / archive).unlink(missing_ok=True)
    return records
