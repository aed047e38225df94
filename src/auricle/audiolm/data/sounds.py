"""Which sounds are tokenized, and in which split each is: files, folders, and lhotse's cuts and recordings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.audiolm.data.cuts import check_numbers, is_manifest, kind_of, manifests_in, read_objects, split_named
from auricle.errors import InputError, OptionError, SoundError
from auricle.jobs.extras import needed
from auricle.jobs.splits import check_splits, source_of, split_of
from auricle.sound.decode import Limits, decode, from_samples
from auricle.sound.files import check_name, refuse_special, sounds_in
from auricle.types import Audio

WHAT = "a manifest of lhotse's"
SHARES = {"train": 0.9, "validation": 0.05, "test": 0.05}
SLACK_S = 0.05  # by which a cut may end after its recording: lengths in headers and in samples differ a little


@dataclass(frozen=True)
class Sound:
    """A sound, or a stretch of one."""

    id: str
    path: str
    source: str  # what it was recorded from: all of one source is in one split
    split: str | None = None
    start_s: float | None = None  # None: from the beginning
    end_s: float | None = None
    cut: str | None = None  # JSON of a lhotse cut that lhotse has to read: a channel of several, a changed speed

    def read(self, rate: int, limits: Limits) -> Audio:
        """Its samples, mono, at a rate.

        Raises:
            SoundError: it can't be read, or is shorter than its times say.
        """
        if self.cut is not None:
            return _read_by_lhotse(self, rate, limits)
        if self.start_s is None and self.end_s is None:
            refuse_special(self.path)
            return decode(self.path, rate=rate, limits=limits)
        whole = _decoded(self.path, rate, limits)
        first, end = round((self.start_s or 0.0) * rate), len(whole.samples)
        if self.end_s is not None:
            if round((self.end_s - SLACK_S) * rate) > end:
                raise SoundError(
                    f"{self.path} has {whole.seconds:.3f} s, and {self.id} ends at {self.end_s:.3f}: mend it"
                )
            end = min(end, round(self.end_s * rate))
        if first >= end:
            raise SoundError(
                f"{self.path} has {whole.seconds:.3f} s, and {self.id} starts at {first / rate:.3f}: mend it"
            )
        return replace(whole, samples=whole.samples[first:end])


def gather(
    paths: Sequence[str | Path],
    *,
    source: str | None = None,
    splits: Mapping[str, float] | None = None,
    without: str | Path | None = None,
    note: Callable[[str], None] = lambda message: None,
) -> list[Sound]:
    """The sounds that files, folders and lhotse's manifests name, by split and source.

    Of a folder that has manifests called `cuts_SPLIT.jsonl.gz`, what these name, in those splits; of another, every
    sound, however deep, whose id is its path in the folder.

    Args:
        source: a regular expression whose first group, in a sound's id, is what it was recorded from; unless given,
            each file is a source of its own, and a cut's is its recording.
        splits: shares by name; `SHARES` unless given. Sources without a split are assigned to them by a hash.
        without: a folder whose sounds are left out: the one that is written to.
        note: called with what of a folder is left out.

    Raises:
        InputError: nothing is named, something isn't there, two sounds have one id, or a source is in two splits.
        OptionError: splits are given where all sounds have one, or are none that training reads.
    """
    if unknown := sorted((splits or {}).keys() - SHARES.keys()):
        raise OptionError(f"splits has {unknown[0]!r}; training reads {', '.join(SHARES)}")
    if "" in paths:
        raise InputError("a path is empty: name a sound, a folder or a manifest of lhotse's; . is the current folder")
    found = [sound for path in paths for sound in _named(Path(path), without, note)]
    if not found:
        raise InputError("no sound given: name files, folders or manifests of lhotse's")
    if splits is not None and all(sound.split for sound in found):
        raise OptionError(
            f"splits is given, and the manifests say themselves which split a sound is in, such as {found[0].split}"
        )
    if source is not None:
        found = [replace(sound, source=source_of(sound.id, source)) for sound in found]
    shares = splits or SHARES
    found = [sound if sound.split else replace(sound, split=split_of(sound.source, shares)) for sound in found]
    _check_unique(found)
    check_splits(((sound.source, sound.split) for sound in found), "the list of sounds")
    order = list(SHARES)
    return sorted(found, key=lambda sound: (order.index(sound.split or ""), sound.source, sound.id))


def _named(path: Path, without: str | Path | None, note: Callable[[str], None]) -> Iterator[Sound]:
    if not path.is_dir():
        if not path.exists():
            raise SoundError(f"there is no file or folder {path}; check the path")
        check_name(path)
        yield from _of_manifest(path) if is_manifest(path) else [Sound(path.stem, str(path), path.stem)]
    elif manifests := manifests_in(path):
        for manifest in manifests:
            yield from _of_manifest(manifest)
    else:
        others: dict[str, list[Path]] = {}
        files = sorted(sounds_in(path, without, lambda why, other: others.setdefault(why, []).append(other)))
        if others:
            note(f"left out of {path}: {_told(others)}")
        if not files:
            raise SoundError(f"folder {path} has no sound in it (.wav, .flac, .mp3, ...); name another, or files")
        for file in files:
            name = file.relative_to(path).with_suffix("").as_posix()
            yield Sound(name, str(file), name)


def _told(others: Mapping[str, Sequence[Path]]) -> str:
    """`3 hidden (music/.a.wav, ...), 1 behind a link to nothing (music/b.wav)`."""
    more = {why: ", ..." * (len(found) > 1) for why, found in others.items()}
    return ", ".join(f"{len(found)} {why} ({min(found)}{more[why]})" for why, found in others.items())


def _check_unique(sounds: Iterable[Sound]) -> None:
    seen: dict[str, Sound] = {}
    clashes = [(other, sound) for sound in sounds if (other := seen.setdefault(sound.id, sound)) is not sound]
    if not clashes:
        return
    one, other = clashes[0]
    more = f" (and {len(clashes) - 1} more like them)" * (len(clashes) > 1)
    if one.path == other.path:
        raise InputError(f"{one.id!r} is given twice, from {one.path}{more}: name each sound once")
    mend = "leave one out, or rename it"
    if Path(one.path).parent != Path(other.path).parent:
        mend = "rename one, or name the folder that both are in"
    raise InputError(f"two sounds are called {one.id!r}, {one.path} and {other.path}{more}: {mend}")


# --- lhotse's manifests


def _of_manifest(path: Path) -> Iterator[Sound]:
    split = split_named(path)
    for found in read_objects(path, WHAT):
        yield replace(_of_object(found, path), split=split)


def _of_object(found: Any, manifest: Path) -> Sound:
    """The sound of a cut or a recording."""
    kind, name = kind_of(found), getattr(found, "id", "?")
    if kind not in ("Recording", "MonoCut", "MultiCut"):
        raise InputError(f"{manifest} has {name!r}, a {kind}; sounds are lhotse's recordings and plain cuts of them")
    cut = found.to_cut() if kind == "Recording" else found
    recording = cut.recording
    if recording is None:
        raise InputError(f"{manifest} has cut {name!r} without a recording: there is no sound to tokenize")
    check_numbers(
        {"start": cut.start, "duration": cut.duration, "recording.duration": recording.duration}, name, manifest
    )
    if strange := [one.type for one in recording.sources if one.type != "file"]:
        # lhotse would run a command that a manifest names, and fetch an address.
        raise InputError(f"{manifest} has {name!r}, whose sound is a {strange[0]}; it must be a file: save it as one")
    for one in recording.sources:
        one.source = _path(str(one.source), manifest)
    sound = Sound(name, recording.sources[0].source, str(recording.id))
    channels = [cut.channel] if isinstance(cut.channel, int) else list(cut.channel)
    everything = sorted(channels) == sorted(recording.channel_ids or channels)
    if len(recording.sources) > 1 or recording.transforms or not everything:
        cut.supervisions, cut.features, cut.custom = [], None, None
        return replace(sound, cut=json.dumps(cut.to_dict(), sort_keys=True))
    if cut.start == 0 and abs(cut.duration - recording.duration) < 1e-3:
        return sound
    return replace(sound, start_s=cut.start, end_s=cut.start + cut.duration)


def _path(path: str, manifest: Path) -> str:
    """As lhotse takes it, from where the command runs; or else from the manifest's folder."""
    beside = manifest.parent / path
    return str(beside) if not Path(path).exists() and beside.exists() else path


@lru_cache(maxsize=1)  # cuts of one recording follow each other; an hour has half a gigabyte
def _decoded(path: str, rate: int, limits: Limits) -> Audio:
    refuse_special(path)
    return decode(path, rate=rate, limits=limits)


def _read_by_lhotse(sound: Sound, rate: int, limits: Limits) -> Audio:
    deserialize = needed("lhotse.serialization", WHAT, "train").deserialize_item
    cut = deserialize(json.loads(sound.cut or ""))
    if cut.duration > limits.max_seconds:
        raise limits.too_long(sound.id, cut.duration)
    try:
        samples: NDArray[np.float32] = cut.load_audio()
    except Exception as error:  # whatever its many readers throw
        reason = " ".join(str(error).split())[:200]
        raise SoundError(
            f"{sound.id} can't be read by lhotse ({type(error).__name__}: {reason}): check {sound.path}"
        ) from None
    return from_samples(samples, cut.sampling_rate, rate, name=sound.id)
