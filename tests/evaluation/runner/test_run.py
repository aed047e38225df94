"""Runs: every clip has a row, a run that was broken off goes on, what has changed is asked about again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

import auricle
from auricle.api import Model
from auricle.errors import AuricleError, InputError
from auricle.evaluation.manifest import Clip, read_manifest
from auricle.evaluation.runner import evaluate
from auricle.evaluation.runner.answers import AnswerTask
from auricle.evaluation.runner.rows import LINES, TABLE
from auricle.evaluation.runner.run import Outcome
from auricle.evaluation.runner.tasks import Columns
from auricle.evaluation.runner.transcripts import TranscribeTask
from auricle.types import Audio
from tests.evaluation.runner.clips import RATE, write_manifest, write_sounds

EXAMPLES = Path(__file__).parents[3] / "examples"
KIND = "What kind of sound is this?"


@pytest.fixture(scope="module")
def model() -> Model:
    return auricle.load("tiny")


class Kinds(AnswerTask):
    """Asks what kind of sound it is, counts the clips, and can be made to break off."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, question=KIND, choices=("Tone", "Noise", "Speech", "Music", "Silence"))
        self.asked: list[str] = []
        self.most = 1000

    def ask(self, clips: Sequence[Clip], sounds: Sequence[Audio]) -> list[Columns | AuricleError]:
        if len(self.asked) >= self.most:
            raise KeyboardInterrupt
        self.asked += [clip.segment_id for clip in clips]
        return super().ask(clips, sounds)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [{**row, "answer": row["label"].capitalize()} for row in write_sounds(tmp_path / "set", 12)]
    return write_manifest(tmp_path / "set" / "manifest.csv", rows)


def answers_of(done: Outcome) -> dict[str, Any]:
    return {row["segment_id"]: (row["pred_answer"], row["right"], row["error"]) for row in done.rows}


def test_every_clip_has_a_row_in_the_manifests_order(model: Model, manifest: Path, tmp_path: Path) -> None:
    clips = read_manifest(manifest)
    done = evaluate(clips, Kinds(model), tmp_path / "run", batch=5)
    assert (done.asked, done.again, done.errors) == (12, 0, 0)
    table = pyarrow.parquet.read_table(tmp_path / "run" / TABLE).to_pylist()
    assert [row["segment_id"] for row in table] == [clip.segment_id for clip in clips]
    assert [row["right"] for row in table] == [True] * 12
    first = table[0]
    assert first["true_answer"] == first["pred_answer"] == first["raw_output"] == "Tone"
    assert (first["model"], first["source_id"], first["split"], first["batch"]) == ("tiny", "s0", "dev", 5)
    assert first["model_revision"].startswith("sha256:")
    assert first["model_ms"] > 0
    assert first["preprocess_ms"] < first["latency_ms"]
    assert (tmp_path / "run" / first["path"]).resolve() == (manifest.parent / "clip000.wav").resolve()


def test_rows_are_written_as_they_come_and_a_broken_run_goes_on(model: Model, manifest: Path, tmp_path: Path) -> None:
    clips, out = read_manifest(manifest), tmp_path / "run"
    whole = evaluate(clips, Kinds(model), tmp_path / "whole")
    first = Kinds(model)
    first.most = 8
    with pytest.raises(KeyboardInterrupt):
        evaluate(clips, first, out, batch=4)
    assert len((out / LINES).read_text().splitlines()) == 8
    assert not (out / TABLE).exists()
    second = Kinds(model)
    done = evaluate(clips, second, out, batch=4)
    assert second.asked == [clip.segment_id for clip in clips[8:]]
    assert answers_of(done) == answers_of(whole)
    third = Kinds(model)
    assert answers_of(evaluate(clips, third, out)) == answers_of(whole)
    assert third.asked == []


def test_a_line_that_was_cut_off_is_asked_about_again(model: Model, manifest: Path, tmp_path: Path) -> None:
    clips, out = read_manifest(manifest), tmp_path / "run"
    whole = evaluate(clips, Kinds(model), out)
    lines = (out / LINES).read_bytes()
    (out / LINES).write_bytes(lines[:-100])
    task = Kinds(model)
    done = evaluate(clips, task, out)
    assert task.asked == [clips[-1].segment_id]
    assert answers_of(done) == answers_of(whole)


def test_a_damaged_line_in_the_middle_is_told(model: Model, manifest: Path, tmp_path: Path) -> None:
    clips, out = read_manifest(manifest), tmp_path / "run"
    evaluate(clips, Kinds(model), out)
    lines = (out / LINES).read_text().splitlines(keepends=True)
    (out / LINES).write_text("".join([*lines[:3], lines[3][:50] + "\n", *lines[4:]]))
    with pytest.raises(InputError, match=r"rows.jsonl, line 4, is no row of a run"):
        evaluate(clips, Kinds(model), out)


def test_what_has_changed_is_asked_about_again(model: Model, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate(read_manifest(manifest), Kinds(model), out)
    silence = np.random.default_rng(1).standard_normal(RATE // 2) * 0.05
    soundfile.write(manifest.parent / "clip002.wav", silence, RATE)  # was a tone
    text = manifest.read_text().replace("clip005.wav,noise,s2", "clip005.wav,noise,s9")
    manifest.write_text(text)
    task = Kinds(model)
    done = evaluate(read_manifest(manifest), task, out)
    assert task.asked == ["clip002", "clip005"]
    assert (done.asked, done.again) == (2, 2)
    assert answers_of(done)["clip002"] == ("Noise", False, None)
    assert [row["source_id"] for row in done.rows if row["segment_id"] == "clip005"] == ["s9"]


def test_a_manifest_may_grow_and_shrink(model: Model, manifest: Path, tmp_path: Path) -> None:
    clips, out = read_manifest(manifest), tmp_path / "run"
    evaluate(clips[:4], Kinds(model), out)
    task = Kinds(model)
    done = evaluate(clips[2:7], task, out)
    assert task.asked == [clip.segment_id for clip in clips[4:7]]
    assert [row["segment_id"] for row in done.rows] == [clip.segment_id for clip in clips[2:7]]


def test_moved_sounds_are_the_same_sounds(model: Model, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate(read_manifest(manifest), Kinds(model), out)
    manifest.parent.rename(tmp_path / "elsewhere")
    task = Kinds(model)
    done = evaluate(read_manifest(tmp_path / "elsewhere" / manifest.name), task, out)
    assert (task.asked, done.errors) == ([], 0)


def test_another_question_is_another_run(model: Model, manifest: Path, tmp_path: Path) -> None:
    clips, out = read_manifest(manifest), tmp_path / "run"
    evaluate(clips, Kinds(model), out)
    with pytest.raises(InputError, match=r"was begun with question \"What kind of sound is this\?\", and not"):
        evaluate(clips, AnswerTask(model, question="Is there music?"), out)


def test_errors_are_rows_and_no_answers(model: Model, manifest: Path, tmp_path: Path) -> None:
    (manifest.parent / "clip003.wav").write_bytes(b"no sound")
    (manifest.parent / "clip007.wav").unlink()
    out = tmp_path / "run"
    done = evaluate(read_manifest(manifest), Kinds(model), out, batch=4)
    wrong = {row["segment_id"]: row for row in done.rows if row["error"]}
    assert list(wrong) == ["clip003", "clip007"]
    assert "clip003.wav" in wrong["clip003"]["error"]
    assert wrong["clip007"]["pred_answer"] is None
    assert wrong["clip007"]["right"] is None
    assert wrong["clip007"]["true_answer"] == "Noise"
    assert done.errors == 2

    write_sounds(manifest.parent, 12)  # mended
    task = Kinds(model)
    assert evaluate(read_manifest(manifest), task, out).errors == 0  # a sound that has changed is asked about anyway
    assert task.asked == ["clip003", "clip007"]


def test_errors_are_asked_about_again_only_if_wanted(model: Model, manifest: Path, tmp_path: Path) -> None:
    (manifest.parent / "clip003.wav").write_bytes(b"no sound")
    clips, out, task = read_manifest(manifest), tmp_path / "run", Kinds(model)
    assert evaluate(clips, task, out).asked == 12
    assert evaluate(clips, task, out).asked == 0
    assert evaluate(clips, task, out, retry_errors=True).asked == 1


def test_a_sound_that_is_not_the_manifests_is_an_error(model: Model, manifest: Path, tmp_path: Path) -> None:
    clip = read_manifest(manifest)[0]
    other = Clip(
        clip.segment_id,
        clip.clip_id,
        clip.path,
        clip.source_id,
        more={**clip.more, "rate": RATE, "audio_sha256": "ab" * 32},
    )
    done = evaluate([other], Kinds(model), tmp_path / "run")
    assert "has other samples than when the manifest was made" in done.rows[0]["error"]


def test_too_many_errors_in_a_row_stop_it(model: Model, manifest: Path, tmp_path: Path) -> None:
    for path in manifest.parent.glob("*.wav"):
        path.unlink()
    clips, out = read_manifest(manifest), tmp_path / "run"
    with pytest.raises(AuricleError, match=r"5 clips in a row have no answer; the last: .*clip004.wav.*--retry-errors"):
        evaluate(clips, Kinds(model), out, batch=6, in_a_row=5)
    assert len((out / LINES).read_text().splitlines()) == 6
    assert evaluate(clips, Kinds(model), tmp_path / "all", in_a_row=0).errors == 12


@pytest.mark.parametrize("name", ["batch", "in_a_row"])
def test_bad_numbers_are_refused(model: Model, manifest: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(AuricleError, match="it must be at least"):
        evaluate(read_manifest(manifest), Kinds(model), tmp_path / "run", **{name: -1})  # type: ignore[arg-type]


def test_transcripts_are_counted_word_by_word(model: Model, tmp_path: Path) -> None:
    texts = {"sentence.wav": "the old man has a hat", "question.wav": ""}
    said = {name: model.transcribe(EXAMPLES / name).text for name in texts}
    rows = [
        {"path": str(EXAMPLES / "sentence.wav"), "clip_id": "a", "text": said["sentence.wav"].title() + "!"},
        {"path": str(EXAMPLES / "question.wav"), "clip_id": "b", "text": said["question.wav"] + " indeed"},
        {"path": str(EXAMPLES / "question.wav"), "clip_id": "c", "text": ""},
    ]
    task = TranscribeTask(model)
    clips = read_manifest(write_manifest(tmp_path / "m.csv", rows))
    assert task.check(clips) == ["1 of 3 clips have no text: nothing is said there, so each word written is inserted"]
    a, b, c = evaluate(clips, task, tmp_path / "run").rows
    assert (a["wer"], a["cer"], a["words"]) == (0.0, 0.0, len(said["sentence.wav"].split()))
    assert (b["deletions"], b["substitutions"], b["insertions"]) == (1, 0, 0)
    assert (c["wer"], c["insertions"], c["true_text"]) == (None, len(said["question.wav"].split()), "")
    assert a["normaliser"] == "basic"


def test_choices_may_differ_from_clip_to_clip(model: Model, tmp_path: Path) -> None:
    (tone, noise) = write_sounds(tmp_path, 2)
    rows = [
        {**tone, "question": KIND, "answer": "tone", "choices": "Tone | Noise"},
        {**noise, "question": KIND, "answer": "Tone", "choices": "Tone|Speech"},
    ]
    clips = read_manifest(write_manifest(tmp_path / "m.csv", rows))
    first, second = evaluate(clips, AnswerTask(model), tmp_path / "run").rows
    assert (first["pred_answer"], first["right"]) == ("Tone", True)
    assert second["pred_answer"] in ("Tone", "Speech")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": ""}, "1 of 1 clips have no question"),
        ({"answer": ""}, "1 of 1 clips have no answer"),
        ({"answer": "Blue"}, "has the answer 'Blue', which is none of its choices"),
    ],
)
def test_what_the_manifest_lacks_is_told_before_the_run(
    model: Model, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    row = {**write_sounds(tmp_path, 1)[0], "question": KIND, "answer": "Tone", "choices": "Tone|Noise", **change}
    clips = read_manifest(write_manifest(tmp_path / "m.csv", [row]))
    with pytest.raises(InputError, match=message):
        evaluate(clips, AnswerTask(model), tmp_path / "run")


def test_a_full_table_reads_back_what_the_lines_say(model: Model, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate(read_manifest(manifest), Kinds(model), out)
    lines = [json.loads(line) for line in (out / LINES).read_text().splitlines()]
    table = pyarrow.parquet.read_table(out / TABLE).to_pylist()
    assert [{name: row.get(name) for name in table[0]} for row in lines] == table
