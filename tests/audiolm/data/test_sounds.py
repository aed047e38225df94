"""Which sounds are meant, in which split each is, and reading a stretch or a channel of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lhotse import AudioSource, CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet

from auricle.audiolm.data.sounds import Sound, gather
from auricle.errors import InputError, OptionError, SoundError
from auricle.sound.decode import Limits
from tests.sound.making import RATE, loudest_hertz, tone, written


def sound(path: Path, hertz: float = 440.0, seconds: float = 0.2, **other: float) -> Path:
    """`other`: hertz of a second channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.stack([tone(one, seconds) for one in (hertz, *other.values())])
    path.write_bytes(written(samples, RATE, "WAV", "PCM_16"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("bach/1_a", "bach/1_b", "bach/2_a", "joplin/1_a", "solo"):
        sound(tmp_path / "music" / f"{name}.wav")
    (tmp_path / "music" / "notes.txt").write_text("no sound")
    return tmp_path / "music"


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Two seconds: half of 400 Hz, half of 800 on the left; 1,600 on the right."""
    left = np.concatenate([tone(400, 1.0), tone(800, 1.0)])
    path = tmp_path / "stereo.wav"
    path.write_bytes(written(np.stack([left, tone(1600, 2.0)]), RATE, "WAV", "PCM_16"))
    return Recording.from_file(path)


# --- what is meant


def test_a_folder_is_all_its_sounds_by_their_paths(folder: Path) -> None:
    found = gather([folder], splits={"train": 1.0})
    assert [one.id for one in found] == ["bach/1_a", "bach/1_b", "bach/2_a", "joplin/1_a", "solo"]
    assert [one.source for one in found] == [one.id for one in found]
    assert found[-1].path == str(folder / "solo.wav")
    named = gather([folder / "solo.wav", folder / "joplin"], splits={"train": 1.0})
    assert [one.id for one in named] == ["1_a", "solo"]


def test_the_folder_that_is_written_to_is_left_out(folder: Path) -> None:
    assert len(gather([folder], without=folder / "bach")) == 2


def test_sources_stay_together_and_splits_are_the_same_for_ever(tmp_path: Path) -> None:
    for work in range(30):
        for take in range(4):
            sound(tmp_path / f"{work:02}_{take}.wav", seconds=0.01)
    shares = {"train": 0.5, "test": 0.5}
    found = gather([tmp_path], source=r"^(\d+)_", splits=shares)
    by_source: dict[str, set[str | None]] = {}
    for one in found:
        by_source.setdefault(one.source, set()).add(one.split)
    assert len(by_source) == 30
    assert all(len(splits) == 1 for splits in by_source.values())
    assert {one.split for one in found} == {"train", "test"}
    some = gather([tmp_path / f"{work:02}_0.wav" for work in range(5)], source=r"^(\d+)_", splits=shares)
    assert {one.id: one.split for one in some} == {one.id: one.split for one in found if one in some}
    assert [one.split for one in found] == sorted((one.split for one in found), key=["train", "test"].index)


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (lambda at: [], {}, InputError, "no sound given"),
        (lambda at: [""], {}, InputError, "a path is empty"),
        (lambda at: [at / "a" / "x.wav"] * 2, {}, InputError, "'x' is given twice, from .*x.wav: name each sound once"),
        (
            lambda at: [at / "both"],
            {},
            InputError,
            r"two sounds are called 'x', .*x.mp3 and .*x.wav \(and 1 more like them\): leave one out",
        ),
        (lambda at: [at / "nowhere"], {}, SoundError, "there is no file or folder .*nowhere; check the path"),
        (lambda at: [at / "empty"], {}, SoundError, "folder .*empty has no sound in it"),
        (
            lambda at: [at / "a", at / "b"],
            {},
            InputError,
            "two sounds are called 'x', .*a/x.wav and .*b/x.wav: .* folder",
        ),
        (lambda at: [at / "a"], {"source": "("}, OptionError, "is no regular expression"),
        (lambda at: [at / "a"], {"source": "^(y)"}, OptionError, "finds no group in clip 'x'"),
        (lambda at: [at / "a"], {"splits": {"dev": 1.0}}, OptionError, "splits has 'dev'; training reads train, valid"),
        (lambda at: [at / "no.jsonl.gz"], {}, SoundError, "there is no file or folder"),
        (lambda at: [at / "bad.jsonl"], {}, InputError, "line 1, is none of lhotse's"),
    ],
)
def test_what_cant_be_used_says_why(
    tmp_path: Path,
    make: Callable[[Path], list[Path]],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    sound(tmp_path / "a" / "x.wav")
    sound(tmp_path / "b" / "x.wav")
    for name in ("x.wav", "x.mp3", "y.wav", "y.mp3"):
        sound(tmp_path / "both" / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.jsonl").write_text('{"path": "x.wav"}\n')
    with pytest.raises(error, match=message):
        gather(make(tmp_path), **options)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes")
def test_what_is_left_out_of_a_folder_is_told(folder: Path) -> None:
    sound(folder / ".hidden.wav")
    (folder / "loop").symlink_to(folder / "bach")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    os.mkfifo(folder / "pipe.wav")
    (folder / "bach" / "cover.jpg").write_bytes(b"")
    notes = list[str]()
    assert len(gather([folder], note=notes.append)) == 5
    (said,) = notes
    for words in (
        f"left out of {folder}: ",
        f"2 without a sound's extension ({folder}/bach/cover.jpg, ...)",
        f"1 hidden ({folder}/.hidden.wav)",
        f"1 behind a link to a folder ({folder}/loop)",
        f"1 behind a link to nothing ({folder}/gone.wav)",
        f"1 no regular file ({folder}/pipe.wav)",
    ):
        assert words in said


def test_a_folder_that_cant_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("bach"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(InputError, match=r"folder .*bach can't be read \(Permission denied\): make it readable"):
        gather([folder])


@pytest.mark.skipif(os.name == "nt", reason="names are UTF-16 there")
def test_a_name_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    sound(tmp_path / "x.wav").rename(tmp_path / os.fsdecode(b"\xff.wav"))
    with pytest.raises(InputError, match="is no UTF-8"):
        gather([tmp_path])


# --- lhotse's manifests


def test_recordings_are_sounds_of_their_own(recording: Recording, tmp_path: Path) -> None:
    RecordingSet.from_recordings([recording]).to_file(tmp_path / "recordings.jsonl.gz")
    (found,) = gather([tmp_path / "recordings.jsonl.gz"])
    assert (found.id, found.source, found.start_s, found.cut) == ("stereo", "stereo", None, None)
    audio = found.read(RATE, Limits())
    assert (len(audio.samples), audio.channels) == (2 * RATE, 2)


def test_a_cut_is_a_stretch_of_its_recording(tmp_path: Path) -> None:
    path = tmp_path / "mono.wav"
    path.write_bytes(written(np.concatenate([tone(400, 1.0), tone(800, 1.0)]), RATE, "WAV", "PCM_16"))
    whole = Recording.from_file(path).to_cut()
    CutSet.from_cuts([whole.truncate(duration=0.75), whole.truncate(offset=1.0)]).to_file(tmp_path / "some.jsonl.gz")
    first, second = sorted(gather([tmp_path / "some.jsonl.gz"]), key=lambda one: one.start_s or 0)
    assert first.source == second.source == "mono"
    assert first.split == second.split
    assert (second.start_s, second.end_s, second.cut) == (1.0, 2.0, None)
    assert len(first.read(32_000, Limits()).samples) == 24_000
    assert abs(loudest_hertz(second.read(32_000, Limits()).samples, 32_000) - 800) < 3


@pytest.mark.parametrize(("channel", "hertz"), [(0, 800), (1, 1600)])
def test_a_cut_of_one_channel_is_that_channel(recording: Recording, tmp_path: Path, channel: int, hertz: int) -> None:
    CutSet.from_cuts([MonoCut("x", 1.0, 1.0, channel, recording=recording)]).to_file(tmp_path / "c.jsonl.gz")
    (found,) = gather([tmp_path / "c.jsonl.gz"])
    audio = found.read(32_000, Limits())
    assert len(audio.samples) == 32_000
    assert abs(loudest_hertz(audio.samples, 32_000) - hertz) < 3
    with pytest.raises(SoundError, match=r"x is 1.00 s long; the limit is 0.5 s"):
        found.read(32_000, Limits(max_seconds=0.5))


def test_a_changed_speed_is_heard(recording: Recording, tmp_path: Path) -> None:
    faster = recording.perturb_speed(2.0)
    CutSet.from_cuts([MonoCut("x", 0.5, 0.5, 0, recording=faster)]).to_file(tmp_path / "c.jsonl.gz")
    (found,) = gather([tmp_path / "c.jsonl.gz"])
    assert abs(loudest_hertz(found.read(32_000, Limits()).samples, 32_000) - 1600) < 6


def test_paths_lead_from_here_or_from_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound(tmp_path / "data" / "x.wav")
    recording = Recording("x", [AudioSource("file", [0], "x.wav")], RATE, RATE // 5, 0.2)
    RecordingSet.from_recordings([recording]).to_file(tmp_path / "data" / "r.jsonl")
    monkeypatch.chdir("/")
    assert gather([tmp_path / "data" / "r.jsonl"])[0].path == str(tmp_path / "data" / "x.wav")
    monkeypatch.chdir(tmp_path / "data")
    assert gather(["r.jsonl"])[0].path == "x.wav"


def test_a_folder_of_splits_keeps_them(tmp_path: Path) -> None:
    for split, names in (("train", "abc"), ("dev", "d"), ("test", "e")):
        files = [sound(tmp_path / "wav" / f"{name}.wav") for name in names]
        RecordingSet.from_recordings(map(Recording.from_file, files)).to_file(tmp_path / f"cuts_{split}.jsonl.gz")
    found = gather([tmp_path])
    assert {one.id: one.split for one in found} == {
        **dict.fromkeys("abc", "train"),
        "d": "validation",
        "e": "test",
    }
    assert gather([tmp_path / "cuts_dev.jsonl.gz"])[0].split == "validation"
    with pytest.raises(OptionError, match="splits is given, and the manifests say themselves"):
        gather([tmp_path], splits={"train": 1.0})
    RecordingSet.from_recordings([Recording.from_file(tmp_path / "wav" / "a.wav", recording_id="e")]).to_file(
        tmp_path / "cuts_test.jsonl.gz"
    )
    assert len(gather([tmp_path])) == 5
    cut = Recording.from_file(tmp_path / "wav" / "a.wav").to_cut()
    cut.id = "other"
    CutSet.from_cuts([cut]).to_file(tmp_path / "cuts_test.jsonl.gz")
    with pytest.raises(InputError, match="has source 'a' in splits 'test' and 'train'"):
        gather([tmp_path])


def test_manifests_of_what_is_no_file_are_refused(recording: Recording, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    by_command = Recording("x", [AudioSource("command", [0], f"touch {marker}")], RATE, RATE, 1.0)
    RecordingSet.from_recordings([by_command]).to_file(tmp_path / "r.jsonl.gz")
    with pytest.raises(InputError, match="'x', whose sound is a command; it must be a file"):
        gather([tmp_path / "r.jsonl.gz"])
    assert not marker.exists()
    SupervisionSet.from_segments([SupervisionSegment("s", "r", 0.0, 1.0)]).to_file(tmp_path / "s.jsonl.gz")
    with pytest.raises(InputError, match="has 's', a SupervisionSegment; sounds are"):
        gather([tmp_path / "s.jsonl.gz"])
    CutSet.from_cuts([recording.to_cut().pad(9.0)]).to_file(tmp_path / "m.jsonl.gz")
    with pytest.raises(InputError, match="a MixedCut; sounds are lhotse's recordings and plain cuts"):
        gather([tmp_path / "m.jsonl.gz"])
    CutSet.from_cuts([MonoCut("x", 0.0, 1.0, 0)]).to_file(tmp_path / "n.jsonl.gz")
    with pytest.raises(InputError, match="cut 'x' without a recording"):
        gather([tmp_path / "n.jsonl.gz"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "gone.wav"}, "gone.wav"),
        ({"start_s": 0.5, "end_s": 2.5}, "has 2.000 s, and x ends at 2.500: mend it"),
        ({"start_s": 2.0, "end_s": 2.01}, "has 2.000 s, and x starts at 2.000: mend it"),
    ],
)
def test_a_stretch_that_is_not_there(recording: Recording, change: dict[str, Any], message: str) -> None:
    values = {"id": "x", "path": recording.sources[0].source, "source": "x", **change}
    with pytest.raises(SoundError, match=message):
        Sound(**values).read(RATE, Limits())


def test_lengths_that_differ_by_a_rounding_are_no_error(recording: Recording) -> None:
    audio = Sound("x", recording.sources[0].source, "x", start_s=1.5, end_s=2.02).read(RATE, Limits())
    assert len(audio.samples) == RATE // 2
