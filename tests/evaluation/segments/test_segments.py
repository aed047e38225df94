"""Annotations in five formats, regions, places, choice, and the clips that come out of it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from auricle.errors import AuricleError, InputError, OptionError
from auricle.evaluation.degrade import Factors, Settings, degrade, gather, survey
from auricle.evaluation.manifest import read_manifest
from auricle.evaluation.segments import Cutting, Recordings, Span, parse_labels, read_annotations, segment
from auricle.evaluation.segments.regions import Region, places_in, regions_of
from auricle.evaluation.sounds import read_clip
from auricle.sound.decode import decode
from auricle.sound.samples import content_hash
from tests.sound.making import RATE, tone, written

NAMES = ("alpha", "beta", "gamma")
SPEECH_S, WHOLE_S = 4.0, 9.0  # of each recording, 300 Hz up to the first, 2000 Hz after it


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number, name in enumerate(NAMES):
        sound = np.concatenate([tone(300 + number, SPEECH_S), tone(2000 + number, WHOLE_S - SPEECH_S)])
        (folder / f"{name}.wav").write_bytes(written(sound, RATE, "WAV", "PCM_16"))
    return folder


@pytest.fixture
def ava(tmp_path: Path) -> Path:
    lines = [
        line
        for name in NAMES
        for line in (f"{name},0.00,{SPEECH_S},CLEAN_SPEECH", f"{name},{SPEECH_S},{WHOLE_S},NO_SPEECH")
    ]
    (tmp_path / "ava.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "ava.csv"


LABELS = {"NO_SPEECH": "nonspeech", "*": "speech"}


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()
    return found


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file() and p.name != ".lock"
    }


class TestAnnotations:
    def test_ava(self, ava: Path) -> None:
        spans = read_annotations([ava])
        assert spans[0] == Span("alpha", 0.0, 4.0, "CLEAN_SPEECH", "alpha")
        assert [span.label for span in spans] == ["CLEAN_SPEECH", "NO_SPEECH"] * 3

    def test_times_from_minute_15_on(self, tmp_path: Path) -> None:
        (tmp_path / "ava.csv").write_text("-5KQ66BBWC4,900.00,902.77,NO_SPEECH\n")
        assert read_annotations([tmp_path / "ava.csv"], offset_s=-900) == [
            Span("-5KQ66BBWC4", 0.0, pytest.approx(2.77), "NO_SPEECH", "-5KQ66BBWC4")  # type: ignore[arg-type]
        ]

    def test_rttm(self, tmp_path: Path) -> None:
        text = ";; a comment\nSPKR-INFO abjxc 1 <NA> <NA> <NA> unknown spk00 <NA> <NA>\n"
        text += "SPEAKER abjxc 1 0.400000 6.640000 <NA> <NA> spk00 <NA> <NA>\n"
        (tmp_path / "abjxc.rttm").write_text(text)
        (span,) = read_annotations([tmp_path])
        assert (span.recording, span.start_s, span.end_s, span.label) == ("abjxc", 0.4, pytest.approx(7.04), "SPEECH")

    def test_esc50_has_the_source_of_each_file(self, tmp_path: Path) -> None:
        text = "filename,fold,target,category,esc10,src_file,take\n1-100032-A-0.wav,1,0,dog,True,100032,A\n"
        (tmp_path / "esc50.csv").write_text(text)
        assert read_annotations([tmp_path / "esc50.csv"]) == [Span("1-100032-A-0.wav", 0.0, math.inf, "dog", "100032")]

    def test_audacity(self, tmp_path: Path) -> None:
        (tmp_path / "talk.txt").write_text("0.500000\t1.250000\tyes\n\\\t100.0\t2000.0\n2.0\t3.0\tno\n")
        first, second = read_annotations([tmp_path / "talk.txt"])
        assert first == Span("talk", 0.5, 1.25, "yes", "talk")
        assert second.label == "no"

    @pytest.mark.parametrize("separator", [",", "\t", ";"])
    def test_any_table(self, tmp_path: Path, separator: str) -> None:
        lines = ["End,file,Start,label,source", '2.5,sub/a.wav,1,"x",s']
        (tmp_path / "t.csv").write_text("\n".join(lines).replace(",", separator))
        assert read_annotations([tmp_path / "t.csv"]) == [Span("sub/a.wav", 1.0, 2.5, "x", "s")]
        (tmp_path / "rec.csv").write_text("start,end,label\n0,1,y\n")
        assert read_annotations([tmp_path / "rec.csv"]) == [Span("rec", 0.0, 1.0, "y", "rec")]

    @pytest.mark.parametrize(
        ("name", "text", "told"),
        [
            ("a.txt", "Dear diary", r"is in no format that is known \('Dear diary'\)"),
            ("a.csv", "start,end,label\n1,soon,x\n", "line 2, goes from '1' to 'soon', which are no seconds"),
            ("a.csv", "start,end,label\n2,1,x\n", "line 2, ends at 1 s, before it starts at 2"),
            ("a.csv", "start,end,label\n1,2,\n", "line 2, has no label"),
            ("a.csv", "start,end\n1,2\n", "has no column 'label'"),
            ("a.csv", "start,end,label\n1,2,x,y\n", "line 2, has 4 cells, and the header 3"),
            ("a.csv", "start,end,label,label\n1,2,x,y\n", "has two columns called 'label'"),
            ("a.csv", "start,end,label\n", "have no spans"),
            ("a.csv", "x,1,2,NO_SPEECH\nx,1,2\n", "line 2, is not VIDEO,START,END,LABEL"),
            ("a.rttm", "SPEAKER a 1 x 2\n", "line 1, is not SPEAKER NAME"),
            ("a.txt", "1\t2\tx\nend\n", "line 2, is not START tab END tab LABEL"),
            ("a.csv", "x,nan,2,NO_SPEECH\n", "line 1, goes from 'nan'"),
        ],
    )
    def test_what_cant_be_read_is_named_with_its_line(self, tmp_path: Path, name: str, text: str, told: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=told) as caught:
            read_annotations([tmp_path / name])
        assert "\n" not in str(caught.value)

    def test_missing_files_and_formats(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="there are no annotations"):
            read_annotations([tmp_path / "none.csv"])
        with pytest.raises(InputError, match="has no annotations in it"):
            read_annotations([tmp_path])
        with pytest.raises(InputError, match="no annotation given"):
            read_annotations([])
        with pytest.raises(OptionError, match="format is 'xml'"):
            read_annotations([tmp_path], "xml")  # type: ignore[arg-type]


class TestRegions:
    def regions(self, *spans: tuple[float, float, str], **options: Any) -> tuple[list[Region], Counter[str]]:
        skipped: Counter[str] = Counter()
        asked = {"labels": None, "gaps": None, **options}
        found = regions_of([Span("r", *span, "r") for span in spans], 10.0, skipped=skipped, **asked)
        return found, skipped

    def test_two_speakers_at_once_are_speech(self) -> None:
        found, skipped = self.regions((1, 3, "SPEECH"), (2, 5, "SPEECH"), gaps="nonspeech")
        assert [(r.start_s, r.end_s, r.label) for r in found] == [
            (0.0, 1, "nonspeech"), (1, 5, "SPEECH"), (5, 10.0, "nonspeech")
        ]  # fmt: skip
        assert not skipped

    def test_what_two_labels_claim_is_neither(self) -> None:
        found, skipped = self.regions((1, 4, "a"), (3, 6, "b"))
        assert [(r.start_s, r.end_s, r.label) for r in found] == [(1, 3, "a"), (4, 6, "b")]
        assert skipped == {"stretches that have two labels at once": 1}

    def test_labels_are_mapped_and_the_words_kept(self) -> None:
        found, _ = self.regions((0, 2, "CLEAN"), (2, 4, "MUSIC"), (4, 6, "NO_SPEECH"), labels=LABELS)
        assert [(r.label, r.category) for r in found] == [
            ("speech", "CLEAN"), ("speech", "MUSIC"), ("nonspeech", "NO_SPEECH")
        ]  # fmt: skip

    def test_what_is_not_mapped_is_no_gap_and_is_counted(self) -> None:
        found, skipped = self.regions((0, 4, "a"), (3, 6, "noise"), labels={"a": "A"}, gaps="gap")
        assert [(r.start_s, r.end_s, r.label) for r in found] == [(0, 3, "A"), (6, 10.0, "gap")]
        assert skipped["spans labelled noise, which labels doesn't name"] == 1

    def test_beyond_the_end_is_counted(self) -> None:
        found, skipped = self.regions((9, 12, "a"), (11, 12, "a"), (3, 3, "a"))
        assert [(r.start_s, r.end_s) for r in found] == [(9, 10.0)]
        assert sum(skipped.values()) == 2 + 2

    @pytest.mark.parametrize("text", ["a", "a=", "=b", "a=b,,c=d"])
    def test_mappings_that_are_none(self, text: str) -> None:
        with pytest.raises(OptionError, match="each must be WORD=LABEL"):
            parse_labels(text)


class TestPlaces:
    DURATIONS = (20.0, 100.0, 500.0, 1000.0)

    def test_never_overlap_and_keep_their_margins(self) -> None:
        for seed in range(50):
            random = np.random.default_rng(seed)
            start, length = random.uniform(0, 5), random.uniform(0.1, 20)
            places = places_in(Region(start, start + length, "a", "a"), self.DURATIONS, 0.1, RATE, random)
            edges = [(place.first, place.first + place.count) for place in places]
            assert all(end <= first for (_, end), (first, _) in pairwise(edges))
            if edges:
                assert edges[0][0] >= (start + 0.1) * RATE
                assert edges[-1][1] <= (start + length - 0.1) * RATE

    def test_as_many_of_each_while_they_fit(self) -> None:
        places = places_in(Region(0, 60, "a", "a"), self.DURATIONS, 0.0, RATE, np.random.default_rng(0))
        counts = Counter(place.duration_ms for place in places)
        assert max(counts.values()) - min(counts.values()) <= 15  # what is left at the end is filled by short ones
        assert counts[1000.0] >= 36

    def test_places_are_spread(self) -> None:
        firsts = [
            place.first
            for seed in range(300)
            for place in places_in(Region(0, 1, "a", "a"), (600.0,), 0.0, RATE, np.random.default_rng(seed))
        ]
        assert len(firsts) == 300
        assert np.mean(firsts) == pytest.approx(0.2 * RATE, rel=0.15)

    def test_too_short_gives_none_and_whole_gives_all(self) -> None:
        random = np.random.default_rng(0)
        assert places_in(Region(0, 0.3, "a", "a"), (200.0,), 0.1, RATE, random) == []
        assert places_in(Region(0, 0.15, "a", "a"), (20.0,), 0.1, RATE, random) == []
        (place,) = places_in(Region(1, 2, "a", "a"), (None,), 0.1, RATE, random)
        assert (place.first, place.count) == (17_600, 12_800)


class TestSegment:
    def test_clips_are_what_their_labels_say(self, recordings: Path, ava: Path, tmp_path: Path) -> None:
        cutting = Cutting(durations=(100, 500), labels=LABELS, dataset="ava", count=5)
        found = segment(read_annotations([ava]), Recordings(recordings), tmp_path / "out", cutting)
        assert found.counts == tuple(("", label, ms, 3, 5) for label in ("nonspeech", "speech") for ms in (100, 500))
        assert len(found.rows) == 20
        for row in rows(tmp_path / "out"):
            heard = decode(tmp_path / "out" / row["path"]).samples
            assert len(heard) == row["duration_ms"] * RATE / 1000
            assert content_hash(heard) == row["audio_sha256"]
            source = decode(recordings / f"{row['source_id']}.wav").samples
            first = round(row["source_start_s"] * RATE)
            np.testing.assert_array_equal(heard, source[first : first + len(heard)])
            peak = np.argmax(np.abs(np.fft.rfft(heard))) * RATE / len(heard)
            assert (peak > 1000) == (row["label"] == "nonspeech")
            assert row["source_start_s"] >= 0.1
            assert (row["dataset"], row["condition"]) == ("ava", "clean")
        assert (tmp_path / "out" / rows(tmp_path / "out")[0]["source_path"]).resolve().parent == recordings.resolve()

    def test_no_two_clips_share_a_sample(self, recordings: Path, ava: Path, tmp_path: Path) -> None:
        segment(read_annotations([ava]), Recordings(recordings), tmp_path / "out", Cutting(labels=LABELS))
        found = sorted((r["source_id"], r["source_start_s"], r["source_end_s"]) for r in rows(tmp_path / "out"))
        assert len(found) > 60
        assert all(a[0] != b[0] or a[2] <= b[1] + 1e-9 for a, b in pairwise(found))

    def test_without_audio_the_manifest_is_enough(self, recordings: Path, ava: Path, tmp_path: Path) -> None:
        spans = read_annotations([ava])
        for name, audio in (("with", True), ("without", False)):
            segment(spans, Recordings(recordings), tmp_path / name, Cutting(labels=LABELS, count=3, audio=audio))
        assert not (tmp_path / "without" / "audio").exists()
        pairs = zip(*(read_manifest(tmp_path / name / "manifest.parquet") for name in ("with", "without")), strict=True)
        for clip, place in pairs:
            np.testing.assert_array_equal(read_clip(clip, RATE), read_clip(place, RATE))
            assert clip.more["audio_sha256"] == place.more["audio_sha256"] == content_hash(read_clip(place, RATE))

    def test_the_order_of_annotations_makes_no_difference(self, recordings: Path, ava: Path, tmp_path: Path) -> None:
        spans = read_annotations([ava])
        by_other = sorted(spans, key=lambda span: span.recording, reverse=True)
        for name, order in (("a", spans), ("b", by_other)):
            segment(order, Recordings(recordings), tmp_path / name, Cutting(labels=LABELS, count=3))
        assert contents(tmp_path / "a") == contents(tmp_path / "b")
        segment(spans, Recordings(recordings), tmp_path / "c", Cutting(labels=LABELS, count=3, seed=1))
        assert [r["clip_id"] for r in rows(tmp_path / "a")] != [r["clip_id"] for r in rows(tmp_path / "c")]

    def test_clips_of_a_source_are_taken_by_turns(self, recordings: Path, tmp_path: Path) -> None:
        lines = ["file,start,end,label", "alpha,0,9,x", "beta,0,2,x", "gamma,0,2,x"]
        (tmp_path / "a.csv").write_text("\n".join(lines))
        spans = read_annotations([tmp_path / "a.csv"])
        cutting = Cutting(durations=(100,), count=9)
        segment(spans, Recordings(recordings), tmp_path / "out", cutting)
        assert Counter(r["source_id"] for r in rows(tmp_path / "out")) == {"alpha": 3, "beta": 3, "gamma": 3}
        most = segment(spans, Recordings(recordings), tmp_path / "two", Cutting(durations=(100,), per_source=2))
        assert Counter(r["source_id"] for r in most.rows) == {"alpha": 2, "beta": 2, "gamma": 2}
        assert most.skipped["clips beyond those that one source may give"] > 100

    def test_labels_are_balanced(self, recordings: Path, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("file,start,end,label\nalpha,0,1,rare\nbeta,0,9,often\n")
        spans = read_annotations([tmp_path / "a.csv"])
        cutting = Cutting(durations=(100,), balance=True)
        found = segment(spans, Recordings(recordings), tmp_path / "out", cutting)
        assert found.counts == (("", "often", 100, 1, 8), ("", "rare", 100, 1, 8))
        assert found.skipped["clips of labels that have more than another (balance)"] == 80

    def test_sources_of_esc50_stay_together(self, recordings: Path, tmp_path: Path) -> None:
        """Three files of one recording are one source: they are in one split, and count once where sources count."""
        lines = ["filename,fold,target,category,esc10,src_file,take"]
        lines += [f"{name}.wav,1,0,dog,True,100032,{take}" for name, take in zip(NAMES, "ABC", strict=True)]
        (tmp_path / "esc50.csv").write_text("\n".join(lines))
        splits = {"dev": 0.5, "test": 0.5}
        cutting = Cutting(durations=(200,), splits=splits)
        found = segment(
            read_annotations([tmp_path / "esc50.csv"]), Recordings(recordings), tmp_path / "out", cutting
        )  # fmt: skip
        assert {row["source_id"] for row in found.rows} == {"100032"}
        assert len({row["split"] for row in found.rows}) == 1
        assert len({row["source_path"] for row in found.rows}) == 3

    def test_what_is_left_out_is_counted(self, recordings: Path, tmp_path: Path) -> None:
        folder = tmp_path / "recordings"
        folder.mkdir()
        loud = np.concatenate([np.zeros(RATE, np.float32), 1.5 * tone(300, 1.0, amplitude=1.0)])
        (folder / "loud.wav").write_bytes(written(loud, RATE, "WAV", "FLOAT"))
        (folder / "bad.wav").write_bytes(b"no sound")
        (folder / "fine.wav").write_bytes((recordings / "alpha.wav").read_bytes())
        lines = ["file,start,end,label", "loud,0,2,x", "bad,0,1,x", "gone,0,1,x", "fine,0,1,x", "fine,2,2.05,x"]
        (tmp_path / "a.csv").write_text("\n".join(lines))
        cutting = Cutting(durations=(100,), margin_s=0)
        found = segment(read_annotations([tmp_path / "a.csv"]), Recordings(folder), tmp_path / "out", cutting)
        reasons = "\n".join(found.skipped)
        assert "clips softer than -70 dB" in reasons
        assert "clips beyond full scale, which 16 bits would clip" in reasons
        assert "recordings that are not in" in reasons
        assert "(gone, ...)" in reasons
        assert "stretches that are too short for any duration" in reasons
        assert [one["recording"] for one in found.failures] == ["bad"]
        assert {row["source_id"] for row in found.rows} == {"fine"}

    def test_killed_it_goes_on_and_ends_the_same(self, recordings: Path, ava: Path, tmp_path: Path) -> None:
        code = (
            "import sys; from auricle.evaluation.segments import *\n"
            f"spans = read_annotations([{str(ava)!r}]); print('begun', flush=True)\n"
            f"segment(spans, Recordings({str(recordings)!r}), sys.argv[1], Cutting(labels={LABELS!r}))"
        )
        random = np.random.default_rng(0)
        for _ in range(5):
            run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE)
            assert run.stdout is not None
            run.stdout.readline()
            time.sleep(random.uniform(0.0, 0.15))
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            run.stdout.close()
        for out in ("a", "b"):
            subprocess.run([sys.executable, "-c", code, str(tmp_path / out)], check=True, stdout=subprocess.DEVNULL)
        assert contents(tmp_path / "a") == contents(tmp_path / "b")
        lost = tmp_path / "a" / rows(tmp_path / "a")[3]["path"]
        lost.unlink()
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True, stdout=subprocess.DEVNULL)
        assert lost.is_file()

    def test_what_cant_be_begun(self, recordings: Path, ava: Path, tmp_path: Path) -> None:
        spans = read_annotations([ava])
        with pytest.raises(InputError, match="there is no folder"):
            Recordings(tmp_path / "none")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="has no sound in it"):
            Recordings(tmp_path / "empty")
        with pytest.raises(InputError, match=r"none of 1 annotated recordings is in .* \(delta for instance\)"):
            segment([Span("delta", 0, 1, "x", "delta")], Recordings(recordings), tmp_path / "out")
        with pytest.raises(InputError, match="no clip comes out of 1 spans"):
            segment([Span("alpha", 0, 0.1, "x", "alpha")], Recordings(recordings), tmp_path / "out2")
        both = [Span("alpha", 0, 1, "x", "a"), Span("alpha", 1, 2, "x", "b")]
        with pytest.raises(InputError, match="has the sources 'a' and 'b': give it one"):
            segment(both, Recordings(recordings), tmp_path / "out3")
        segment(spans, Recordings(recordings), tmp_path / "done", Cutting(count=1))
        with pytest.raises(InputError, match="was begun with cutting"):
            segment(spans, Recordings(recordings), tmp_path / "done", Cutting(count=2))

    @pytest.mark.skipif(os.name == "nt", reason="no limit on the size of files")
    def test_a_full_disk_is_called_one(self, recordings: Path, ava: Path, tmp_path: Path) -> None:
        """A limit on the size of files stands for it: what the system says is told in the same way."""
        import resource

        most = resource.getrlimit(resource.RLIMIT_FSIZE)
        cutting = Cutting(durations=(1000,))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most[1]))
            with pytest.raises(AuricleError, match=r"the disk of .* is full; what is done stays") as told:
                segment(read_annotations([ava]), Recordings(recordings), tmp_path / "out", cutting)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
        assert told.value.exit_status == 1
        segment(read_annotations([ava]), Recordings(recordings), tmp_path / "out", cutting)
        assert rows(tmp_path / "out")

    def test_two_recordings_of_one_name(self, recordings: Path, tmp_path: Path) -> None:
        for folder in ("x", "y"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "alpha.wav").write_bytes((recordings / "alpha.wav").read_bytes())
        found = Recordings(tmp_path)
        assert found.find("x/alpha.wav") == tmp_path / "x" / "alpha.wav"
        with pytest.raises(InputError, match="has 2 recordings called 'alpha'"):
            found.find("alpha")

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"durations": (0.5,)}, "durations has 0.5; it must be from 1"),
            ({"durations": (20, 20)}, "durations has one twice"),
            ({"margin_s": -1}, "margin is -1"),
            ({"count": 0}, "count is 0; it must be at least 1"),
            ({"per_source": 0}, "per_source is 0"),
            ({"rate": 10}, "rate is 10"),
            ({"seed": -1}, "seed is -1"),
            ({"min_level_db": float("nan")}, "min_level is nan; it must be at most 0 dB"),
            ({"gaps": " "}, "gaps is empty"),
        ],
    )
    def test_options(self, options: dict[str, Any], told: str) -> None:
        with pytest.raises(OptionError, match=told):
            Cutting(**options)

    def test_the_manifest_says_how_it_was_made_and_from_what(self, recordings: Path, ava: Path, tmp_path: Path) -> None:
        segment(read_annotations([ava]), Recordings(recordings), tmp_path / "out", Cutting(count=1, seed=7))
        (path,) = {row["source_path"] for row in rows(tmp_path / "out") if row["source_id"] == "beta"}
        assert (tmp_path / "out" / path).resolve() == (recordings / "beta.wav").resolve()
        degrade(
            survey(gather(manifest=tmp_path / "out" / "manifest.parquet"), Factors(), Settings()), tmp_path / "a" / "b"
        )
        (path,) = {row["source_path"] for row in rows(tmp_path / "a" / "b") if row["source_id"] == "beta"}
        assert (tmp_path / "a" / "b" / path).resolve() == (recordings / "beta.wav").resolve()
        metadata = pyarrow.parquet.read_schema(tmp_path / "out" / "manifest.parquet").metadata
        assert json.loads(metadata[b"auricle"])["cutting"]["seed"] == 7
