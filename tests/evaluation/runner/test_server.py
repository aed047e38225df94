"""Runs that ask a server over HTTP: transcripts, answers, labels in its own words; and when it goes down midway."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from auricle.evaluation.runner.rows import LINES, TABLE
from tests.cli.conftest import Done, Run, auricle, refused  # noqa: F401
from tests.evaluation.runner.clips import write_manifest, write_sounds
from tests.openai_server import Fail, Peer, Say, serving

COUNT = 12


@pytest.fixture
def peer() -> Iterator[Peer]:
    with serving(Peer()) as peer:
        yield peer


@pytest.fixture
def asked(auricle: Run, peer: Peer, tmp_path: Path) -> Callable[..., Done]:  # noqa: F811
    """Runs `auricle eval` on 12 clips, with more columns for all, against the server."""

    def run(*options: object, **columns: object) -> Done:
        rows = [{**row, **columns} for row in write_sounds(tmp_path / "set", COUNT)]
        manifest = write_manifest(tmp_path / "set" / "manifest.csv", rows)
        server = ("--model", "openai:ear", "--base-url", peer.url, "--retries", 0)
        return auricle("eval", manifest, "--out", tmp_path / "run", *server, *options)

    return run


def rows_of(tmp_path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(tmp_path / "run" / TABLE).to_pylist()
    return found


def test_transcripts_of_a_server(asked: Callable[..., Done], peer: Peer, tmp_path: Path) -> None:
    done = asked("--task", "transcribe", "--json", text="A cat barks loudly")
    assert (done.status, len(peer.asked)) == (0, COUNT)
    rows = rows_of(tmp_path)
    assert {row["pred_text"] for row in rows} == {"A dog barks."}
    assert {(row["substitutions"], row["deletions"], row["insertions"], row["wer"]) for row in rows} == {(1, 1, 0, 0.5)}
    assert {row["model"] for row in rows} == {"openai:ear"}


def test_answers_of_a_server(asked: Callable[..., Done], peer: Peer, tmp_path: Path) -> None:
    peer.answer = lambda body: Say(("Yes.",) if len(peer.asked) % 2 else ("No.",))
    done = asked("--task", "answer", "--batch", 5, question="Is there a dog?", answer="yes")
    assert done.status == 0
    rows = rows_of(tmp_path)
    assert {row["right"] for row in rows} == {True, False}
    assert all(row["right"] == (row["pred_answer"] == "Yes.") for row in rows)
    assert {row["finish_reason"] for row in rows} == {"stop"}


def test_labels_in_its_own_words(asked: Callable[..., Done], peer: Peer, tmp_path: Path) -> None:
    peer.answer = lambda body: Say(("It is a tone.",))
    done = asked("--free", "--orders", "given", "--json")
    assert done.status == 0
    rows = rows_of(tmp_path)
    assert {row["pred_label"] for row in rows} == {"tone"}
    assert {row["raw_output"] for row in rows} == {"It is a tone."}
    assert all(row["parse_rule"].startswith("parser: ") for row in rows)
    assert "p_tone" not in rows[0] or {row["p_tone"] for row in rows} == {None}


def test_words_that_say_no_label_are_unknown_and_no_error(
    asked: Callable[..., Done], peer: Peer, tmp_path: Path
) -> None:
    peer.answer = lambda body: Say(("I hear something.",))
    done = asked("--free", "--json")
    assert (done.status, done.json["errors"]) == (0, 0)
    assert {(row["pred_label"], row["error"]) for row in rows_of(tmp_path)} == {(None, None)}
    overall = done.json["overall"]
    assert {one["unknown"] for one in overall if one["unknown_are"] == "wrong"} == {6}


def test_a_server_gives_no_likelihoods(asked: Callable[..., Done], peer: Peer, tmp_path: Path) -> None:
    done = asked()
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "openai:ear gives no likelihoods of labels: let it answer in its own words with --free" in done.err
    assert not (tmp_path / "run").exists()


def test_a_server_that_goes_down_stops_the_run_which_goes_on(
    asked: Callable[..., Done], peer: Peer, tmp_path: Path
) -> None:
    peer.script = [Say()] * 4 + [Fail(503, {"error": {"message": "overloaded"}})]
    terms = ("--task", "transcribe", "--batch", 4)
    done = asked(*terms, "--max-errors", 4, text="a dog barks")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("auricle: 4 clips in a row have no answer; the last: ")
    assert "overloaded" in done.err
    assert "ask again with --retry-errors" in done.err
    lines = [json.loads(line) for line in (tmp_path / "run" / LINES).read_text().splitlines()]
    assert [row["error"] is None for row in lines] == [True] * 4 + [False] * 4
    assert all(row["pred_text"] is None for row in lines[4:])

    peer.script = [Say()]
    before = len(peer.asked)
    more = asked(*terms, text="a dog barks")
    assert more.status == 2  # errors stay until they are asked about again
    assert len(peer.asked) - before == COUNT - 8
    last = asked(*terms, "--retry-errors", text="a dog barks")
    assert last.status == 0
    assert len(peer.asked) - before == COUNT - 4
    assert [row["pred_text"] for row in rows_of(tmp_path)] == ["A dog barks."] * COUNT


def test_all_errors_may_be_wanted(asked: Callable[..., Done], peer: Peer, tmp_path: Path) -> None:
    peer.script = [Fail(400, {"error": {"message": "no audio, please"}})]
    done = asked("--task", "transcribe", "--max-errors", 0, text="a dog barks")
    assert done.status == 2
    assert f"{COUNT} of {COUNT} clips have no answer" in done.err
    assert all("no audio, please" in row["error"] for row in rows_of(tmp_path))
