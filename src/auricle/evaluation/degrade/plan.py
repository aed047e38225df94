"""What a set will hold, decided before any of it is made: which clips, under which conditions, in which files.

Everything follows from the content of the clips and the settings. The order of the files, how far an earlier run came,
and which part is made first make no difference.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import av
import numpy as np
import soxr

from auricle.errors import InputError, OptionError, SoundError
from auricle.evaluation.degrade.chain import Settings
from auricle.evaluation.degrade.clips import NoiseClips
from auricle.evaluation.degrade.conditions import Condition, Factors, noise_name
from auricle.evaluation.degrade.noise import KINDS
from auricle.evaluation.degrade.pieces import samples_of
from auricle.evaluation.manifest import Clip, file_names
from auricle.evaluation.sounds import HEADER_BYTES, read_clip
from auricle.jobs.parts import digest
from auricle.sound.decode import Limits
from auricle.sound.samples import content_hash

Short = Literal["refuse", "skip"]
Progress = Callable[[int, int], None]  # done, and in all

FORMAT = 1  # of the folder and of the random choices; another gives other files
FILES_A_PART = 256


@dataclass(frozen=True)
class Surveyed:
    """A clean clip that can be read."""

    clip: Clip
    sha256: str
    samples: int
    file: str  # its path within the folder of each condition


@dataclass(frozen=True)
class Plan:
    """The whole set."""

    factors: Factors
    settings: Settings
    conditions: tuple[Condition, ...]
    clips: tuple[Surveyed, ...]
    unreadable: tuple[dict[str, Any], ...]  # clip_id, path, reason
    noises: Mapping[str, NoiseClips]
    skipped: int  # combinations whose clip is shorter than the duration
    limits: Limits

    @property
    def files(self) -> int:
        return len(self.clips) * len(self.conditions) - self.skipped

    @property
    def bytes(self) -> int:
        """Of the sound files; with a tail that is kept there are more, as nobody knows before."""
        rate, padding = self.factors.rate, self.settings.padding
        if padding.filling != "none":
            return self.files * (HEADER_BYTES + 2 * samples_of(padding.to_ms, rate))
        tail = [c.rt60 * 1.2 if self.settings.tail == "keep" else 0.0 for c in self.conditions]
        return sum(
            HEADER_BYTES + 2 * (self.samples_of(one, condition) + round(more * rate))
            for one in self.clips
            for condition, more in zip(self.conditions, tail, strict=True)
            if self.fits(one, condition)
        )

    def samples_of(self, one: Surveyed, condition: Condition) -> int:
        """Of a clip's piece under a condition."""
        duration = condition.duration_ms
        return one.samples if duration is None else samples_of(duration, self.factors.rate)

    def fits(self, one: Surveyed, condition: Condition) -> bool:
        return one.samples >= self.samples_of(one, condition)

    @property
    def parts(self) -> list[tuple[Surveyed, ...]]:
        """Consecutive clips whose files are made before anything is recorded."""
        size = max(1, FILES_A_PART // len(self.conditions))
        return [self.clips[first : first + size] for first in range(0, len(self.clips), size)]

    def counts(self) -> list[tuple[str, str, int, int]]:
        """Split, label, sources and clips of each, for people to look at."""
        groups: dict[tuple[str, str], list[str]] = {}
        for one in self.clips:
            groups.setdefault((one.clip.split or "", one.clip.label or ""), []).append(one.clip.source_id)
        return [(*names, len(set(sources)), len(sources)) for names, sources in sorted(groups.items())]

    def as_json(self) -> dict[str, Any]:
        """What a folder was begun with; another is another set."""
        return {
            "format": FORMAT,
            "factors": asdict(self.factors),
            "settings": asdict(self.settings),
            "versions": {"numpy": np.__version__, "soxr": soxr.__version__, "ffmpeg": _ffmpeg()},
            "clips": len(self.clips),
            "content": digest(
                *(json.dumps([one.file, one.sha256, _said(one.clip)], sort_keys=True) for one in self.clips),
                *(one["clip_id"] for one in self.unreadable),
                *(json.dumps([name, *_noise(noise)]) for name, noise in sorted(self.noises.items())),
            ),
        }


def survey(
    clips: Sequence[Clip],
    factors: Factors,
    settings: Settings,
    *,
    short: Short = "refuse",
    shared_noise: bool = False,
    limits: Limits | None = None,
    progress: Progress = lambda done, whole: None,
) -> Plan:
    """Reads every clip once, and plans the set.

    Args:
        short: of clips that are shorter than a duration: refuse them, or leave those combinations out.
        shared_noise: a clip of noise may be in several splits.

    Raises:
        InputError: clips are too short, the same sound is there twice, none can be read, or noise is missing.
    """
    if short not in get_args(Short):
        raise OptionError(f"short is {short!r}; it must be {', '.join(get_args(Short))}")
    limits = limits or Limits()
    splits = sorted({clip.split for clip in clips}, key=lambda split: split or "")
    noises = {
        noise_name(word): NoiseClips.of(word, noise_name(word), splits, shared_noise)
        for word in factors.noise
        if word not in KINDS and any(snr is not None for snr in factors.snr)
    }
    files = file_names([clip.clip_id for clip in clips])
    found: list[Surveyed] = []
    unreadable = []
    for number, clip in enumerate(clips):
        try:
            samples = read_clip(clip, factors.rate, limits)
            found.append(Surveyed(clip, content_hash(samples), len(samples), files[clip.clip_id]))
        except SoundError as error:
            unreadable.append({"clip_id": clip.clip_id, "path": clip.path, "reason": str(error)})
        progress(number + 1, len(clips))
    if not found:
        raise SoundError(f"none of {len(clips)} clips can be read; the first: {unreadable[0]['reason']}")
    _refuse_copies(found)
    conditions = tuple(factors.conditions())
    plan = Plan(factors, settings, conditions, tuple(found), tuple(unreadable), noises, 0, limits)
    skipped = sum(not plan.fits(one, condition) for one in found for condition in conditions)
    if skipped and short == "refuse":
        _refuse_short(found, factors)
    _refuse_narrow(plan)
    return Plan(factors, settings, conditions, plan.clips, plan.unreadable, noises, skipped, limits)


def _refuse_copies(found: Sequence[Surveyed]) -> None:
    """The same sound under two names counts twice, and may be on both sides of a split."""
    (sha256, count), *_ = Counter(one.sha256 for one in found).most_common(1)
    if count > 1:
        first, second, *_ = (one.clip for one in found if one.sha256 == sha256)
        raise InputError(
            f"{count} clips are the same sound, {first.clip_id!r} and {second.clip_id!r} for instance: leave one out"
        )


def _refuse_short(found: Sequence[Surveyed], factors: Factors) -> None:
    longest = max(factors.durations)
    shortest = min(found, key=lambda one: one.samples)
    count = sum(one.samples < samples_of(longest, factors.rate) for one in found)
    raise InputError(
        f"{count} of {len(found)} clips are shorter than {longest:g} ms (the shortest, {shortest.clip.clip_id}, has "
        f"{1000 * shortest.samples / factors.rate:g}): give shorter durations, or leave them out with --short skip"
    )


def _refuse_narrow(plan: Plan) -> None:
    padding, rate = plan.settings.padding, plan.factors.rate
    longest = max(plan.samples_of(one, c) for one in plan.clips for c in plan.conditions if plan.fits(one, c))
    if padding.filling != "none" and longest > samples_of(padding.to_ms, rate):
        raise OptionError(
            f"pad_to is {padding.to_ms:g} ms, and the longest clip has {1000 * longest / rate:g}: raise it, or "
            "cut clips with durations"
        )


def _said(clip: Clip) -> list[Any]:
    more = {name: str(value) for name, value in clip.more.items() if name != "source_path"}
    return [clip.clip_id, clip.source_id, clip.label, clip.split, more]


def _noise(noise: NoiseClips) -> list[Any]:
    """The clips of noise and their sizes; their content is read only where one is used."""
    return [[file, (Path(noise.root) / file).stat().st_size] for file in noise.files]


def _ffmpeg() -> str:
    return ".".join(map(str, av.library_versions["libavcodec"]))
