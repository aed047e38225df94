"""What manifests, folders and models can hold that nobody meant: rows stay true, or one line says what is wrong."""

from __future__ import annotations

import datetime
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from auricle.errors import AuricleError, InputError, OptionError
from auricle.evaluation.classifiers import Classified
from auricle.evaluation.classifiers.energy import Energy
from auricle.evaluation.manifest import Clip, read_manifest
from auricle.evaluation.runner import LabelTask, Outcome, evaluate
from auricle.evaluation.runner.about import session
from auricle.evaluation.runner.asking import Asking
from auricle.evaluation.runner.rows import LINES, TABLE
from auricle.jobs.folder import locked
from auricle.sound.decode import Limits
from auricle.types import Audio
from tests.evaluation.runner.clips import RATE, write_manifest, write_sounds

BOTH = ("tone", "noise")


class Counting(Energy):
    """Energy, which counts the clips that it is asked about."""

    def __init__(self, labels: Sequence[str] = BOTH) -> None:
        super().__init__(labels)
        self.asked = 0

    def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
        self.asked += len(sounds)
        return super().classify(sounds)


class Scores(Energy):
    """Gives the same scores to every clip."""

    def __init__(self, probabilities: tuple[float, ...], logits: tuple[float, ...]) -> None:
        super().__init__(BOTH)
        self.scores = probabilities, logits

    def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
        return [Classified("tone", *self.scores, "", "likelihood", 0.0, 0.0) for _ in sounds]


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return write_sounds(tmp_path / "set", 4)


def clips_of(rows: list[dict[str, Any]], folder: Path) -> list[Clip]:
    """By way of a manifest in parquet."""
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "manifest.parquet")
    return read_manifest(folder / "manifest.parquet")


def table_of(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(out / TABLE).to_pylist()
    return found


def test_the_rows_of_another_run_as_a_manifest_give_none_of_its_answers(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "set" / "clip001.wav").write_bytes(b"no sound")
    theirs = {"pred_label": "noise", "confidence": 0.9, "p_tone": 0.1, "p_noise": 0.9, "logits": [1.0, 2.0]}
    theirs |= {"model": "them", "model_revision": "old", "error": "they said so", "raw_output": "NOISE", "row_id": "x"}
    clips = clips_of([{**row, **theirs, "p_value": 0.5, "device": "phone"} for row in rows], tmp_path / "set")
    evaluate(clips, LabelTask(Energy(BOTH)), tmp_path / "run")
    good, bad, *_ = table_of(tmp_path / "run")
    assert (good["pred_label"], good["error"], good["model"]) == ("tone", None, "energy")
    assert good["p_tone"] > 0.5
    assert (good["p_value"], good["device"]) == (0.5, "phone")
    assert (bad["model"], bad["model_revision"]) == ("energy", None)
    assert "clip001.wav" in bad["error"]
    assert [bad[name] for name in ("pred_label", "confidence", "p_tone", "p_noise", "logits", "raw_output")] == [
        None
    ] * 6


def test_a_run_is_a_manifest_of_the_same_clips(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    first = evaluate(clips_of(rows, tmp_path / "set"), LabelTask(Energy(BOTH)), tmp_path / "a" / "run")
    again = evaluate(read_manifest(tmp_path / "a" / "run" / TABLE), LabelTask(Energy(BOTH)), tmp_path / "b")
    assert [row["pred_label"] for row in again.rows] == [row["pred_label"] for row in first.rows]
    assert again.errors == 0


@pytest.mark.parametrize("labels", [("tone é☃\u2028", "noise"), ("tone", "tone\x00"), ("a\nb", "c")])
def test_labels_that_can_not_be_printed_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(OptionError, match="which can't be printed: give it without control characters"):
        Asking("label", "energy", labels=labels).build()


@pytest.mark.parametrize("label", ["Ton é ☃", "x" * 3000, "p_noise", "a|b,c\"d'", "{{ label }}", "../..", "error"])
def test_labels_of_any_words_are_columns(rows: list[dict[str, Any]], tmp_path: Path, label: str) -> None:
    clips = clips_of(
        [{**row, "label": label if row["label"] == "tone" else row["label"]} for row in rows], tmp_path / "set"
    )
    evaluate(clips, Asking("label", "energy", labels=(label, "noise")).build(), tmp_path / "run")
    first = table_of(tmp_path / "run")[0]
    assert (first["true_label"], first["pred_label"]) == (label, label)
    assert first[f"p_{label}"] == first["confidence"] > 0.5
    assert first[f"p_{label}"] + first["p_noise"] == pytest.approx(1)
    assert first["error"] is None


def test_probabilities_that_are_no_numbers_are_errors_and_no_answers(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    task = LabelTask(Scores((math.nan, math.nan), (math.nan, math.nan)))
    done = evaluate(clips_of(rows, tmp_path / "set"), task, tmp_path / "run")
    assert done.errors == 4
    assert {row["pred_label"] for row in done.rows} == {None}
    assert done.rows[0]["error"] == "the labels' probabilities are no numbers (nan, nan): try --dtype float32"


def test_a_label_that_can_not_be_said_has_no_likelihood(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    done = evaluate(
        clips_of(rows, tmp_path / "set"), LabelTask(Scores((1.0, 0.0), (-1.5, -math.inf))), tmp_path / "run"
    )
    assert done.errors == 0
    assert table_of(tmp_path / "run")[0]["logits"] == [-1.5, None]


def test_what_json_has_no_word_for_is_carried_as_text(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    day = datetime.datetime(2026, 12, 1, 9, 30)
    more = {"recorded": day, "loudness": math.nan, "tags": ["a", "b"], "raw": b"\x00\xff"}
    clips, task = clips_of([{**row, **more} for row in rows], tmp_path / "set"), Counting()
    evaluate(clips[:2], LabelTask(task), tmp_path / "run")
    evaluate(clips, LabelTask(task), tmp_path / "run")
    assert task.asked == 4
    for row in table_of(tmp_path / "run"):
        assert (row["recorded"], row["loudness"], row["tags"]) == ("2026-12-01 09:30:00", None, ["a", "b"])


def test_a_folder_that_has_moved_names_the_sounds_where_they_are(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    rows = [{**row, "source_path": "whole.wav"} for row in rows]
    clips, task = clips_of(rows, tmp_path / "set"), Counting()
    evaluate(clips, LabelTask(task), tmp_path / "run")
    (tmp_path / "far" / "away").mkdir(parents=True)
    moved = tmp_path / "far" / "away" / "run"
    shutil.move(tmp_path / "run", moved)
    evaluate(clips, LabelTask(task), moved)
    assert task.asked == 4
    first = table_of(moved)[0]
    assert (moved / first["path"]).resolve() == (tmp_path / "set" / "clip000.wav").resolve()
    assert (moved / first["source_path"]).resolve() == (tmp_path / "set" / "whole.wav").resolve()


def test_a_table_that_is_no_longer_whole_is_gone_until_it_is(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    clips, out = clips_of(rows, tmp_path / "set"), tmp_path / "run"
    evaluate(clips[:2], LabelTask(Energy(BOTH)), out)

    class Broken(Energy):
        def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(clips, LabelTask(Broken(BOTH)), out)
    assert not (out / TABLE).exists()
    evaluate(clips, LabelTask(Energy(BOTH)), out)
    assert len(table_of(out)) == 4


def begun(rows: list[dict[str, Any]], tmp_path: Path) -> tuple[list[Clip], Path, Outcome]:
    clips, out = clips_of(rows, tmp_path / "set"), tmp_path / "run"
    return clips, out, evaluate(clips, LabelTask(Energy(BOTH)), out)


def test_lines_of_another_system_are_read(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    clips, out, whole = begun(rows, tmp_path)
    (out / LINES).write_bytes((out / LINES).read_bytes().replace(b"\n", b"\r\n"))
    task = Counting()
    assert evaluate(clips, LabelTask(task), out).rows == whole.rows
    assert task.asked == 0


def test_a_tail_of_zeros_as_a_power_cut_leaves_is_cut_off(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    clips, out, whole = begun(rows, tmp_path)
    with (out / LINES).open("ab") as stream:
        stream.write(bytes(500))
    assert evaluate(clips, LabelTask(Energy(BOTH)), out).rows == whole.rows


@pytest.mark.parametrize("line", [b"\n", b"\xff\xfe\n", b"[]\n", b'{"segment_id": "a"}\n', b"null\n"])
def test_lines_that_no_run_wrote_are_told(rows: list[dict[str, Any]], tmp_path: Path, line: bytes) -> None:
    clips, out, _ = begun(rows, tmp_path)
    (out / LINES).write_bytes(line + (out / LINES).read_bytes())
    with pytest.raises(InputError, match=r"rows.jsonl, line 1, is no row of a run: name another folder"):
        evaluate(clips, LabelTask(Energy(BOTH)), out)


def test_a_run_of_another_version_is_another_run(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    clips, out, _ = begun(rows, tmp_path)
    plan = json.loads((out / "plan.json").read_text())
    (out / "plan.json").write_text(json.dumps({**plan, "auricle": "0.0.1"}))
    with pytest.raises(InputError, match=r'was begun with auricle "0.0.1", and not'):
        evaluate(clips, LabelTask(Energy(BOTH)), out)


def test_two_runs_in_one_folder_are_kept_apart(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    clips, out, _ = begun(rows, tmp_path)
    manifest = tmp_path / "set" / "manifest.parquet"
    with locked(out), pytest.raises(InputError, match="another run is writing to"):
        evaluate(clips, LabelTask(Energy(BOTH)), out, session=lambda: session(out, manifest, 4, None))
    assert not (out / "about.json").exists()


def test_a_damaged_about_is_told(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    clips, out, _ = begun(rows, tmp_path)
    (out / "about.json").write_text("{")
    manifest = tmp_path / "set" / "manifest.parquet"
    with pytest.raises(InputError, match=r"about.json is damaged \(.*\): remove it, it holds no rows"):
        evaluate(clips, LabelTask(Energy(BOTH)), out, session=lambda: session(out, manifest, 4, None))


def test_sounds_that_can_not_be_taken_are_errors_in_their_rows(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "long.wav", np.zeros(3 * RATE), RATE)
    soundfile.write(tmp_path / "short.wav", np.zeros(RATE // 10), RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    names = ("folder.wav", "empty.wav", "none.wav", "long.wav", "short.wav", "nan.wav", "a\nb.wav", "x" * 300)
    rows = [{"path": name, "label": "tone", "end_s": 1.0 if name == "short.wav" else None} for name in names]
    clips = clips_of(rows, tmp_path)
    done = evaluate(clips, LabelTask(Energy(BOTH)), tmp_path / "run", limits=Limits(max_seconds=2.0), in_a_row=0)
    wrong = {row["clip_id"]: row["error"] for row in done.rows}
    assert all(wrong.values()), wrong
    assert len(table_of(tmp_path / "run")) == len(names)
    assert "max_seconds" in wrong["long"] or "2" in wrong["long"]
    assert "has 0.100 s, and clip short is to go from 0.000 to 1.000: mend the manifest" in wrong["short"]


def test_pieces_of_a_stereo_recording_are_clips(tmp_path: Path) -> None:
    time = np.arange(2 * 44_100) / 44_100
    sound = np.where(time < 1, 0.3, 0.003) * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "whole.flac", np.stack([sound, sound], 1), 44_100)
    rows = [
        {"path": "whole.flac", "clip_id": str(number), "start_s": start, "end_s": start + 0.5, "label": label}
        for number, (start, label) in enumerate([(0.2, "tone"), (1.2, "noise"), (0.25, "tone")])
    ]
    done = evaluate(read_manifest(write_manifest(tmp_path / "m.csv", rows)), LabelTask(Energy(BOTH)), tmp_path / "run")
    assert [row["pred_label"] for row in done.rows] == ["tone", "noise", "tone"]
    assert len({row["audio_sha256"] for row in done.rows}) == 3
    assert done.rows[0]["logits"][0] == pytest.approx(20 * math.log10(0.3 / math.sqrt(2)), abs=0.1)


def test_half_a_character_is_told_before_the_run(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "set" / "m.jsonl"
    path.write_text("\n".join(json.dumps({**row, "clip_id": f"c{row['path']}\ud800"}) for row in rows))
    with pytest.raises(InputError, match=r"clip 'cclip000.wav\\ud800' has the character U\+D800 in its row"):
        evaluate(read_manifest(path), LabelTask(Energy(BOTH)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rate", [-16_000, 3, 1_000_000_000])
def test_rates_that_no_sound_has_are_errors(rows: list[dict[str, Any]], tmp_path: Path, rate: int) -> None:
    done = evaluate(
        clips_of([{**row, "rate": rate} for row in rows], tmp_path / "set"), LabelTask(Energy(BOTH)), tmp_path / "run"
    )
    assert done.errors == 4
    assert f"has rate {rate}, which is not 1000 to 384000: mend the manifest" in done.rows[0]["error"]
