"""Where sound comes from: the clean clips, and the clips of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auricle.errors import InputError, OptionError, SoundError
from auricle.evaluation.manifest import Clip, check_unique, read_manifest
from auricle.evaluation.sounds import decoded
from auricle.jobs.parts import generator
from auricle.jobs.splits import check_splits, source_of, split_of
from auricle.sound.decode import Limits
from auricle.sound.files import check_name, sounds_in


def gather(
    paths: Sequence[str | Path] = (),
    manifest: str | Path | None = None,
    *,
    source: str | None = None,
    splits: Mapping[str, float] | None = None,
    without: str | Path | None = None,
) -> list[Clip]:
    """The clean clips that files, folders or a manifest name, by their ids.

    Of folders, every sound however deep: its id is its path in the folder, its label the folder that it lies in.

    Args:
        source: a regular expression whose first group, in a clip's id, is the recording that the clip was cut from;
            unless given, what the manifest says, and each file of a folder is a source of its own.
        splits: shares by name; sources are assigned to them by a hash. Unless given, what the manifest says.
        without: a folder whose sounds are left out: the one that is written to may lie in one that is read, and what
            an earlier run left there is no clean clip.

    Raises:
        InputError: nothing is named, two clips have the same id, a source is in two splits, or a file's name is no
            UTF-8, which no manifest can hold.
    """
    if manifest is not None and paths:
        raise InputError(f"{len(paths)} paths and a manifest are given: list all clips in one of the two")
    clips = read_manifest(manifest) if manifest is not None else _listed(paths, without)
    if source is not None:
        clips = [replace(clip, source_id=source_of(clip.clip_id, source)) for clip in clips]
    if splits is not None:
        clips = [replace(clip, split=split_of(clip.source_id, splits)) for clip in clips]
    check_unique((clip.clip_id for clip in clips), "the list of clips")
    check_splits(((clip.source_id, clip.split) for clip in clips), "the list of clips")
    return sorted(clips, key=lambda clip: clip.clip_id)


@dataclass(frozen=True)
class NoiseClips:
    """A folder of noise, or one file of it, and which of its clips each split may have."""

    name: str
    root: Path
    files: tuple[str, ...]  # relative to `root`, sorted
    by_split: Mapping[str | None, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str | Path, name: str, splits: Sequence[str | None], shared: bool) -> NoiseClips:
        """Looks into the folder, and gives every split noise of its own: what is tuned on one split must not have
        heard the noise of another.

        Raises:
            InputError: it isn't there, has no sound, or too little for every split.
        """
        root = Path(path)
        if root.is_file():
            files: tuple[str, ...] = (root.name,)
            root = root.parent
        elif root.is_dir():
            files = tuple(sorted(found.relative_to(root).as_posix() for found in sounds_in(root)))
        else:
            raise OptionError(f"noise is {str(path)!r}; it must be white, pink, speech, or a folder or file of noise")
        if not files:
            raise InputError(f"folder {root} has no sound in it to take noise from; name another")
        if shared or len(splits) < 2:
            return cls(name, root, files, dict.fromkeys(splits, files))
        shares = {str(split): 1.0 for split in sorted(map(str, splits))}
        found = {s: tuple(f for f in files if split_of(f, shares) == str(s)) for s in splits}
        if empty := [split for split, mine in found.items() if not mine]:
            raise InputError(
                f"{root} has {len(files)} clips of noise, and none of them falls to split {empty[0]!r}: give more, or "
                "allow the same noise in all splits with --shared-noise"
            )
        return cls(name, root, files, found)

    def piece(
        self, count: int, rate: int, split: str | None, which: str, where: str
    ) -> tuple[NDArray[np.float64], str, float]:
        """`count` samples of a clip that is as long, its name, and the second at which they start.

        Args:
            which, where: what the choice of the clip, and of the place in it, depend on.

        Raises:
            SoundError: no clip is long enough.
        """
        mine = self.by_split[split]
        for number in generator(which, "noise clip", self.name).permutation(len(mine)).tolist():
            audio = decoded(str(self.root / mine[number]), rate, Limits())
            spare = len(audio.samples) - count
            if spare >= 0:
                first = int(generator(where, "place in the noise").integers(0, spare + 1))
                return audio.samples[first : first + count].astype(np.float64), mine[number], first / rate
        raise SoundError(
            f"none of the {len(mine)} clips of noise in {self.root} has the {count / rate:g} s that are needed: "
            "give longer ones"
        )


def _listed(paths: Sequence[str | Path], without: str | Path | None) -> list[Clip]:
    clips = []
    for path in map(Path, paths):
        if not path.is_dir():
            check_name(path)
            clips.append(_clip(path.with_suffix("").name, path, None))
            continue
        found = sorted(sounds_in(path, without))
        if not found:
            raise SoundError(f"folder {path} has no sound in it (.wav, .flac, .mp3, ...); name another, or files")
        for file in found:
            inner = file.relative_to(path)
            label = inner.parent.name or None
            clips.append(_clip(inner.with_suffix("").as_posix(), file, label))
    if not clips:
        raise InputError("no sound given: name files, folders or a manifest")
    return clips


def _clip(name: str, path: Path, label: str | None) -> Clip:
    return Clip(segment_id=name, clip_id=name, path=str(path), source_id=name, label=label)
