"""Whole sets: what is in the folder, the same bits whatever the order and however often killed, splits, bad input."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from auricle.cli.main import run as called
from auricle.errors import AuricleError, InputError, OptionError, SoundError
from auricle.evaluation.degrade import Factors, Padding, Plan, Settings, degrade, gather, survey
from auricle.evaluation.manifest import COLUMNS, read_manifest
from auricle.evaluation.sounds import read_clip
from auricle.jobs.splits import parse_splits, split_of
from auricle.sound.decode import decode
from auricle.sound.samples import content_hash
from tests.sound.making import RATE, written

FACTORS = Factors(
    durations=(20, 100), rt60=(0, 0.3), snr=(None, 0.0), noise=("white", "pink"), codecs=("none", "mulaw")
)
SETTINGS = Settings(level_db=-30, padding=Padding("noise", 500))


def sound(number: int, seconds: float = 0.3) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * (200 + 50 * number) * time_s)).astype(np.float32)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three clips each of `speech` and `other`."""
    for number in range(6):
        folder = tmp_path / "clips" / ("speech", "other")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"r{number // 2}_{number}.wav").write_bytes(written(sound(number), RATE, "WAV", "PCM_16"))
    return tmp_path / "clips"


def planned(paths: Sequence[Path], factors: Factors = FACTORS, settings: Settings = SETTINGS, **options: Any) -> Plan:
    return survey(gather(paths), factors, settings, **options)


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()
    return found


class TestSet:
    def test_a_row_and_a_file_for_every_clip_and_condition(self, clips: Path, tmp_path: Path) -> None:
        plan = planned([clips])
        done = degrade(plan, tmp_path / "out")
        found = rows(tmp_path / "out")
        assert (done.files, done.failures) == (6 * 2 * 2 * 3 * 2, ())
        assert len(found) == plan.files == done.files
        assert len({row["segment_id"] for row in found}) == len(found)
        assert {row["label"] for row in found} == {"speech", "other"}
        assert sum((tmp_path / "out" / row["path"]).stat().st_size for row in found) == plan.bytes
        assert found[0].keys() <= COLUMNS.keys()

    def test_hashes_are_of_what_is_read_back(self, clips: Path, tmp_path: Path) -> None:
        degrade(planned([clips]), tmp_path / "out")
        for row in rows(tmp_path / "out")[::7]:
            heard = decode(tmp_path / "out" / row["path"]).samples
            assert content_hash(heard) == row["audio_sha256"]
            assert len(heard) == row["length_ms"] * RATE / 1000
            assert float(np.abs(heard).max()) == row["peak"]
        for clip, row in zip(read_manifest(tmp_path / "out" / "manifest.parquet"), rows(tmp_path / "out"), strict=True):
            assert (clip.segment_id, clip.label) == (row["segment_id"], row["label"])
            assert Path(clip.path).is_file()

    def test_the_clip_is_the_same_in_all_conditions_and_noise_is_not(self, clips: Path, tmp_path: Path) -> None:
        degrade(planned([clips], Factors(snr=(0.0, 6.0206)), Settings()), tmp_path / "out")
        by_name = {row["segment_id"]: row for row in rows(tmp_path / "out")}
        clean = read_clip(gather([clips])[0], RATE)
        noises = []
        for name in ("white+0dB", "white+6.0206dB"):
            heard = decode(tmp_path / "out" / by_name[f"{name}/other/r0_1"]["path"]).samples.astype(np.float64)
            noises.append(heard - clean)
        assert abs(np.std(noises[0]) / np.std(noises[1]) - 2) < 0.1
        assert abs(np.corrcoef(*noises)[0, 1]) < 0.1

    def test_another_seed_is_another_noise_and_the_same_clip(self, clips: Path, tmp_path: Path) -> None:
        factors = Factors(snr=(None, 0.0))
        for seed in (0, 1):
            degrade(planned([clips], factors, Settings(seed=seed)), tmp_path / str(seed))
        for one, other in zip(rows(tmp_path / "0"), rows(tmp_path / "1"), strict=True):
            assert (one["audio_sha256"] == other["audio_sha256"]) == (one["noise"] is None)

    def test_columns_of_a_manifest_are_carried(self, clips: Path, tmp_path: Path) -> None:
        with (clips / "m.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["path", "clip_id", "source_id", "label", "split", "dataset", "speaker", "category"])
            table.writerow(["speech/r0_0.wav", "a", "rec1", "yes", "dev", "mine", "007", "CLEAN"])
            table.writerow(["other/r0_1.wav", "b", "rec2", "no", "test", "mine", "", "NOISE"])
        plan = survey(gather(manifest=clips / "m.csv"), Factors(gains=(-6.0,)), Settings())
        degrade(plan, tmp_path / "out")
        first, second = rows(tmp_path / "out")
        assert {**first, "path": ""}.items() >= {
            "segment_id": "gain-6dB/a", "clip_id": "a", "source_id": "rec1", "label": "yes", "split": "dev",
            "dataset": "mine", "speaker": "007", "category": "CLEAN", "condition": "gain-6dB",
        }.items()  # fmt: skip
        assert (second["clip_id"], second["speaker"]) == ("b", None)

    def test_names_that_no_file_may_have(self, tmp_path: Path) -> None:
        lines = ["path,clip_id"]
        for number, name in enumerate(["../../escape", "A", "a", "x" * 200, "ä/ö"]):
            (tmp_path / f"{number}.wav").write_bytes(written(sound(number), RATE, "WAV", "PCM_16"))
            lines.append(f"{number}.wav,{name}")
        (tmp_path / "m.csv").write_text("\n".join(lines), encoding="utf-8")
        degrade(survey(gather(manifest=tmp_path / "m.csv"), Factors(), Settings()), tmp_path / "in" / "out")
        found = rows(tmp_path / "in" / "out")
        paths = [tmp_path / "in" / "out" / row["path"] for row in found]
        assert len({str(path).lower() for path in paths}) == 5
        assert all((tmp_path / "in" / "out" / "audio").resolve() in path.resolve().parents for path in paths)
        assert {row["clip_id"] for row in found} == {"../../escape", "A", "a", "x" * 200, "ä/ö"}


class TestSameBits:
    def test_over_runs_and_orders(self, clips: Path, tmp_path: Path) -> None:
        degrade(planned([clips]), tmp_path / "a")
        files = sorted(clips.rglob("*.wav"), reverse=True)
        lines = ["path,clip_id,label", *(f"{f},{f.relative_to(clips).with_suffix('')},{f.parent.name}" for f in files)]
        (tmp_path / "list.csv").write_text("\n".join(lines))
        degrade(survey(gather(manifest=tmp_path / "list.csv"), FACTORS, SETTINGS), tmp_path / "b")
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_a_clip_alone_is_what_it_is_among_others(self, clips: Path, tmp_path: Path) -> None:
        degrade(planned([clips]), tmp_path / "all")
        degrade(planned([clips / "speech"]), tmp_path / "some")
        of_all = {row["clip_id"] + row["condition"]: row["audio_sha256"] for row in rows(tmp_path / "all")}
        for row in rows(tmp_path / "some"):
            assert row["audio_sha256"] == of_all[f"speech/{row['clip_id']}{row['condition']}"]

    def test_killed_ten_times_it_ends_the_same(self, tmp_path: Path) -> None:
        folder = tmp_path / "clips"
        folder.mkdir()
        for number in range(40):
            (folder / f"{number:02}.wav").write_bytes(written(sound(number, 0.5), RATE, "WAV", "PCM_16"))
        factors = "Factors(durations=(20, 100, 200), rt60=(0, 1.0), snr=(None, -5.0, 0.0, 5.0), noise=('pink',))"
        code = (
            "import sys; from auricle.evaluation.degrade import *\n"
            f"plan = survey(gather([{str(folder)!r}]), {factors}, Settings(level_db=-30))\n"
            "print('begun', flush=True); degrade(plan, sys.argv[1])"
        )
        random, killed = np.random.default_rng(0), 0
        for _ in range(10):
            run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE)
            assert run.stdout is not None
            run.stdout.readline()
            time.sleep(random.uniform(0.02, 0.35))
            killed += run.poll() is None
            run.kill()  # nothing, where it has ended
            run.wait()
            run.stdout.close()
        assert killed >= 3  # a fast machine may be through before the later ones
        for out in ("a", "b"):
            subprocess.run([sys.executable, "-c", code, str(tmp_path / out)], check=True, stdout=subprocess.DEVNULL)
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_a_run_goes_on_and_makes_what_was_lost(self, clips: Path, tmp_path: Path) -> None:
        plan, out = planned([clips]), tmp_path / "out"
        degrade(plan, out)
        before = contents(out)
        assert degrade(plan, out).computed == 0
        lost = out / rows(out)[5]["path"]
        lost.unlink()
        (out / rows(out)[9]["path"]).write_bytes(b"short")
        assert degrade(plan, out).computed > 0
        assert contents(out) == before

    def test_a_folder_of_another_set_is_refused(self, clips: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        degrade(planned([clips]), out)
        with pytest.raises(InputError, match=r"was begun with factors .*: name another folder"):
            degrade(planned([clips], Factors()), out)
        (clips / "speech" / "r0_0.wav").write_bytes(written(sound(99), RATE, "WAV", "PCM_16"))
        with pytest.raises(InputError, match="was begun with content"):
            degrade(planned([clips]), out)
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").touch()
        with pytest.raises(InputError, match=r"holds other files \(thesis.txt, ...\) and no plan.json"):
            degrade(planned([clips]), tmp_path / "full")
        shutil.rmtree(out)
        out.touch()
        with pytest.raises(InputError, match="can't be written to"):
            degrade(planned([clips]), out)


class TestSplits:
    """The mistake: sources shared between splits, which made 97 % of less."""

    def test_a_source_is_in_one_split_whatever_the_clip(self, clips: Path) -> None:
        found = gather([clips], source=r"/(r\d)_", splits={"dev": 0.5, "test": 0.5})
        assert {clip.source_id for clip in found} == {"r0", "r1", "r2"}
        splits = {(clip.source_id, clip.split) for clip in found}
        assert len(splits) == 3

    def test_the_hash_is_the_same_for_ever_and_meets_the_shares(self) -> None:
        shares = parse_splits("train=0.7,dev=0.1,test=0.2")
        found = [split_of(f"recording {number}", shares) for number in range(5000)]
        for name, share in shares.items():
            assert abs(found.count(name) / 5000 - share) < 0.02
        halves = parse_splits("dev=0.5,test=0.5")
        assert [split_of(name, halves) for name in "abcdefgh"] == [
            "test",
            "test",
            "dev",
            "test",
            "dev",
            "test",
            "test",
            "test",
        ]

    def test_a_manifest_with_a_source_in_two_is_refused(self, clips: Path) -> None:
        lines = ["path,source_id,split", "speech/r0_0.wav,one,dev", "speech/r1_2.wav,one,test"]
        (clips / "m.csv").write_text("\n".join(lines))
        with pytest.raises(InputError, match="has source 'one' in splits 'dev' and 'test': put all clips"):
            gather(manifest=clips / "m.csv")

    def test_the_same_sound_twice_is_refused(self, clips: Path) -> None:
        """It would be in two splits under two names."""
        shutil.copy(clips / "speech" / "r0_0.wav", clips / "other" / "copy.wav")
        with pytest.raises(InputError, match="2 clips are the same sound, 'other/copy' and 'speech/r0_0'"):
            planned([clips])

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("dev", "each must be NAME=SHARE"),
            ("dev=x", "each must be NAME=SHARE"),
            ("dev=0.5", "add up to 0.5; they must add up to 1"),
            ("dev=0.5,dev=0.5", "has 'dev' twice"),
            ("dev=-1,test=2", "each must be NAME=SHARE"),
        ],
    )
    def test_shares_that_are_none(self, text: str, told: str) -> None:
        with pytest.raises(OptionError, match=told):
            parse_splits(text)


class TestNoiseClips:
    @pytest.fixture
    def rain(self, tmp_path: Path) -> Path:
        (tmp_path / "rain").mkdir()
        for number in range(12):
            noise = np.random.default_rng(number).normal(0, 0.05, RATE).astype(np.float32)
            (tmp_path / "rain" / f"{number}.wav").write_bytes(written(noise, RATE, "WAV", "PCM_16"))
        return tmp_path / "rain"

    def test_are_found_in_what_was_mixed(self, clips: Path, rain: Path, tmp_path: Path) -> None:
        degrade(planned([clips], Factors(snr=(None, 3.0), noise=(str(rain),)), Settings()), tmp_path / "out")
        by_name = {row["segment_id"]: row for row in rows(tmp_path / "out")}
        for name, row in by_name.items():
            if row["noise"] is None:
                continue
            clean = decode(tmp_path / "out" / by_name[f"clean/{row['clip_id']}"]["path"]).samples.astype(np.float64)
            noise = decode(tmp_path / "out" / row["path"]).samples - clean
            piece = decode(rain / row["noise_id"]).samples
            first = round(row["noise_start_s"] * RATE)
            assert np.corrcoef(noise, piece[first : first + len(noise)])[0, 1] > 0.99, name
            assert abs(10 * np.log10(np.mean(clean**2) / np.mean(noise**2)) - 3) < 0.1
        assert len({row["noise_id"] for row in by_name.values()}) > 2

    def test_no_clip_of_noise_is_in_two_splits(self, clips: Path, rain: Path, tmp_path: Path) -> None:
        found = gather([clips], splits={"dev": 0.5, "test": 0.5})
        assert {clip.split for clip in found} == {"dev", "test"}
        plan = survey(found, Factors(snr=(0.0, 1.0, 2.0), noise=(str(rain),)), Settings())
        degrade(plan, tmp_path / "out")
        used = {(row["noise_id"], row["split"]) for row in rows(tmp_path / "out")}
        assert len({name for name, _ in used}) == len(used) > 2

    def test_too_few_for_the_splits_must_be_allowed(self, clips: Path, rain: Path) -> None:
        found = gather([clips], splits={"dev": 0.5, "test": 0.5})
        factors = Factors(snr=(0.0,), noise=(str(rain / "0.wav"),))
        with pytest.raises(InputError, match=r"none of them falls to split '(dev|test)': give more, or allow"):
            survey(found, factors, Settings())
        assert survey(found, factors, Settings(), shared_noise=True).files == 6

    def test_what_is_too_short_or_silent_or_missing(self, clips: Path, tmp_path: Path) -> None:
        noise = tmp_path / "noise"
        noise.mkdir()
        (noise / "a.wav").write_bytes(written(sound(1, 0.1), RATE, "WAV", "PCM_16"))
        factors = Factors(snr=(0.0,), noise=(str(noise),))
        done = degrade(planned([clips], factors, Settings()), tmp_path / "out")
        assert len(done.failures) == 6
        assert "none of the 1 clips of noise in" in done.failures[0]["reason"]
        (noise / "a.wav").write_bytes(written(np.zeros(RATE, np.float32), RATE, "WAV", "PCM_16"))
        done = degrade(planned([clips], factors, Settings()), tmp_path / "out2")
        assert "noise a.wav is silent at" in done.failures[0]["reason"]
        with pytest.raises(OptionError, match="it must be white, pink, speech, or a folder or file of noise"):
            planned([clips], Factors(snr=(0.0,), noise=("brown",)))


class TestBadClips:
    def test_what_cant_be_made_is_told_and_the_rest_is_made(self, clips: Path, tmp_path: Path) -> None:
        (clips / "speech" / "bad.wav").write_bytes(b"no sound")
        (clips / "speech" / "silent.wav").write_bytes(written(np.zeros(RATE, np.float32), RATE, "WAV", "PCM_16"))
        done = degrade(planned([clips], Factors(gains=(0.0, 20.0)), Settings()), tmp_path / "out")
        assert done.files == 6
        lines = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
        reasons = [json.loads(line)["reason"] for line in lines]
        assert len(reasons) == 1 + 2 + 6 == len(done.failures)
        assert "bad.wav is no sound that can be decoded" in reasons[0]
        assert any("silent, clean: it is silent" in reason for reason in reasons)
        assert any("gain+20dB: it reaches 2 where full scale is 1" in reason for reason in reasons)

    def test_a_file_that_cant_be_written_is_no_failure_of_its_clip(self, clips: Path, tmp_path: Path) -> None:
        """Written down as one, it would never be made again."""
        plan, out = planned([clips], Factors(), Settings()), tmp_path / "out"
        blocked = out / "audio" / "clean" / plan.clips[2].file
        blocked.mkdir(parents=True)  # where a file is to be
        (out / "plan.json").write_text(json.dumps(plan.as_json()), encoding="utf-8")
        with pytest.raises(AuricleError, match="can't be written"):
            degrade(plan, out)
        assert not (out / "failures.jsonl").exists()
        blocked.rmdir()
        done = degrade(plan, out)
        assert (done.files, done.failures) == (6, ())

    def test_nothing_is_said_of_a_manifest_that_is_not_there(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.wav").write_bytes(written(np.zeros(RATE, np.float32), RATE, "WAV", "PCM_16"))
        assert called(["degrade", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().out == "0 files of 1 clips under 1 conditions: no manifest\n"

    def test_what_was_written_into_the_folder_is_no_clip(self, clips: Path) -> None:
        out = clips / "set"
        first = gather([clips], without=out)
        degrade(survey(first, Factors(), Settings()), out)
        assert gather([clips], without=out) == first
        assert len(gather([clips])) == 2 * len(first)

    def test_names_that_are_no_utf_8(self, clips: Path) -> None:
        data = (clips / "speech" / "r0_0.wav").read_bytes()
        try:
            Path(os.fsdecode(os.fsencode(clips) + b"/\xff.wav")).write_bytes(data)
        except OSError:
            pytest.skip("this file system has no such names")
        with pytest.raises(InputError, match=r"udcff.wav' is no UTF-8, as that of every sound must be: rename it"):
            gather([clips])

    def test_short_clips_are_refused_or_counted(self, clips: Path, tmp_path: Path) -> None:
        factors = Factors(durations=(100, 400))
        with pytest.raises(InputError, match=r"6 of 6 clips are shorter than 400 ms \(the shortest, .* has 300\)"):
            planned([clips], factors)
        plan = planned([clips], factors, short="skip")
        assert (plan.files, plan.skipped) == (6, 6)
        assert degrade(plan, tmp_path / "out").skipped == 6

    def test_padding_that_is_too_short_is_told_before_anything_is_made(self, clips: Path) -> None:
        with pytest.raises(OptionError, match=r"pad_to is 100 ms, and the longest clip has 300"):
            planned([clips], Factors(), Settings(padding=Padding("silence", 100)))

    def test_none_that_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "bad.wav").write_bytes(b"no sound")
        with pytest.raises(SoundError, match="none of 1 clips can be read"):
            planned([tmp_path])

    def test_a_set_that_is_degraded_already(self, clips: Path, tmp_path: Path) -> None:
        degrade(planned([clips], Factors(gains=(0.0, -6.0)), Settings()), tmp_path / "out")
        with pytest.raises(InputError, match="two sounds called 'other/r0_1'"):
            gather(manifest=tmp_path / "out" / "manifest.parquet")

    def test_a_column_that_is_written_here(self, clips: Path, tmp_path: Path) -> None:
        (clips / "m.csv").write_text("path,rt60\nspeech/r0_0.wav,0.5\n")
        plan = survey(gather(manifest=clips / "m.csv"), Factors(), Settings())
        with pytest.raises(InputError, match="has a column 'rt60', which is written here: rename it"):
            degrade(plan, tmp_path / "out")

    @pytest.mark.parametrize("pattern", ["(", "x", "^r"])
    def test_a_source_pattern_that_finds_nothing(self, clips: Path, pattern: str) -> None:
        with pytest.raises(OptionError, match="source "):
            gather([clips], source=pattern)
