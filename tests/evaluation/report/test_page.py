"""The page: well formed, whole in itself, safe with hostile names; and what it says of runs that fall short."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.errors import InputError, OptionError
from auricle.evaluation.analysis import read_run
from auricle.evaluation.report import Report, Settings, make_report
from auricle.evaluation.report.contents import Column, Table
from tests.evaluation.report.runs import DULL, KEEN, Observer, Row, answer_rows, label_rows, transcribe_rows, write_run

QUICK = Settings(resamples=100)
NO_FITS = Settings(fits=False)
SMALL = {"durations": (20.0, 60.0, 100.0, 500.0), "snrs": (-5.0, 0.0, None)}
VOID = {"meta", "br", "input", "path", "use", "rect"}


class Page(HTMLParser):
    """Elements in their order, what they hold, and the text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def values(self, *names: str) -> list[str]:
        return [value for _, attributes in self.elements for name in names if (value := attributes.get(name))]

    def count(self, tag: str) -> int:
        return sum(one == tag for one, _ in self.elements)


def check(report: Report) -> Page:
    """What holds of every page."""
    page = Page(report.page)
    assert page.open == []
    ids = Counter(page.values("id"))
    assert not [name for name, times in ids.items() if times > 1]
    for target in page.values("href", "xlink:href"):
        assert target.startswith("#")
        assert target[1:] in ids
    for target in re.findall(r"url\(([^)]*)\)", report.page):
        assert target[1:] in ids
    assert all(source.startswith("data:audio/flac;base64,") for source in page.values("src"))
    assert not re.search(r"https?://|//[a-z]+\.[a-z]", report.page)
    assert "@import" not in report.page
    assert not {"link", "iframe", "img", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.count("script") == 1
    for name, content in report.files.items():
        assert content.startswith(b"\x89PNG") if name.endswith(".png") else content.decode("utf-8").count("\n") > 1
        assert re.fullmatch(r"[\w.-]+", name)
    return page


def reported(folder: Path, *runs: tuple[str, list[Row]], settings: Settings = NO_FITS, **more: object) -> Report:
    folders = [write_run(folder / name, rows, model=name, **more) for name, rows in runs]  # type: ignore[arg-type]
    return make_report([read_run(one) for one in folders], settings)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Report:
    keen = label_rows(KEEN, sources=8, errors=9, unknowns=6, **SMALL)  # type: ignore[arg-type]
    dull = label_rows(DULL, sources=8, seed=1, **SMALL)  # type: ignore[arg-type]
    return reported(tmp_path_factory.mktemp("two"), ("keen", keen), ("dull", dull), settings=QUICK)


class TestWholeReport:
    def test_it_is_whole(self, two: Report) -> None:
        page = check(two)
        assert "keen and dull labelled" in page.text
        assert re.search(r"keen: \d of 144 sounds got no answer but an error", page.text)
        for title in ("Key figures", "Runs against each other", "Psychometric functions", "Probabilities", "Latency"):
            assert title in page.text

    def test_pictures_and_tables_are_files_too(self, two: Report) -> None:
        pictures = {name for name in two.files if name.endswith(".png")}
        assert {"by-duration-ms.png", "roc.png", "precision-recall.png", "calibration.png", "latency.png"} <= pictures
        assert Page(two.page).count("svg") == len(pictures)
        tables = {name for name in two.files if name.endswith(".csv")}
        assert {
            "key-figures.csv",
            "figures.csv",
            "cells.csv",
            "thresholds.csv",
            "comparison.csv",
            "worst.csv",
        } <= tables

    def test_csv_has_the_figures_in_full(self, two: Report) -> None:
        first = next(csv.DictReader(io.StringIO(two.files["key-figures.csv"].decode())))
        found = two.record["runs"]["keen"]["overall"][-2]
        assert (found["split"], found["unknown_are"]) == ("test", "wrong")
        assert first["run"] == "keen"
        assert float(first["accuracy"]) == found["accuracy"]["value"]
        assert float(first["accuracy low"]) == found["accuracy"]["low"]

    def test_the_same_runs_give_the_same_bytes(self, tmp_path: Path) -> None:
        rows = label_rows(sources=4, **SMALL)  # type: ignore[arg-type]
        folder = write_run(tmp_path / "run", rows)
        first, second = (make_report([read_run(folder)], QUICK) for _ in range(2))
        assert first.page == second.page
        assert first.files == second.files

    def test_colours_are_the_pages_own(self, two: Report) -> None:
        """In dark, a picture would else have black words on a black page."""
        drawings = "".join(re.findall(r"<svg.*?</svg>", two.page, re.DOTALL))
        assert "var(--run-0)" in drawings
        assert "var(--ink)" in drawings
        own = set(re.findall(r"#[0-9a-f]{6}", drawings))
        assert not {"#000000", "#1f2430", "#0072b2", "#262626"} & own

    def test_what_was_run(self, two: Report) -> None:
        text = Page(two.page).text
        for said in ("abc123", "Is this SPEECH or NONSPEECH?", "5f5f5f", "float32", "Linux, 2 cores"):
            assert said in text

    def test_three_runs(self, tmp_path: Path) -> None:
        runs = [(f"model {seed}", label_rows(sources=4, seed=seed, **SMALL)) for seed in range(3)]  # type: ignore[arg-type]
        report = reported(tmp_path, *runs)
        check(report)
        assert report.files["comparison.csv"].decode().count("\n") == 4

    def test_more_runs_than_colours(self, tmp_path: Path) -> None:
        runs = [(f"model {seed}", label_rows(sources=2, seed=seed, **SMALL)) for seed in range(9)]  # type: ignore[arg-type]
        check(reported(tmp_path, *runs))

    def test_labels_by_dev(self, tmp_path: Path) -> None:
        rows = label_rows(sources=8, **SMALL)  # type: ignore[arg-type]
        for row in rows:  # a scale on which 0.5 says nothing
            row["p_speech"], row["pred_label"] = row["p_speech"] / 3, "nonspeech"
            row["p_nonspeech"] = 1 - row["p_speech"]
        own = reported(tmp_path / "a", ("x", rows))
        dev = reported(tmp_path / "b", ("x", rows), settings=Settings(fits=False, decide="dev"))
        assert "chosen on split dev: a sound is called by it" in check(dev).text

        def accuracy(report: Report) -> float:
            return float(report.record["runs"]["x"]["overall"][-1]["accuracy"]["value"])

        assert accuracy(own) == 0.5
        assert accuracy(dev) > 0.6


class TestOtherRuns:
    def test_nothing_varies(self, tmp_path: Path) -> None:
        report = reported(tmp_path, ("x", label_rows(sources=12, durations=(None,), snrs=(None,))), settings=QUICK)
        page = check(report)
        assert "By condition" not in page.text
        assert "Psychometric functions" not in page.text
        assert "roc.png" in report.files

    def test_many_labels(self, tmp_path: Path) -> None:
        many = {f"kind {number}": Observer(60, 0.1) for number in range(30)}
        rows = label_rows(many, sources=2, durations=(20.0, 60.0, 100.0, 500.0), snrs=(None,))
        report = reported(tmp_path, ("x", rows), settings=QUICK, labels=list(many))
        assert "What was heard: 30 labels" in check(report).text
        assert "roc.png" not in report.files
        assert "thresholds.csv" in report.files  # of all labels together

    def test_free_answers(self, tmp_path: Path) -> None:
        rows = label_rows(sources=6, probabilities=False, unknowns=8, **SMALL)  # type: ignore[arg-type]
        report = reported(tmp_path, ("x", rows))
        page = check(report)
        assert "Probabilities" not in page.text
        assert "unknown" in report.files["confusion-0.csv"].decode().splitlines()[0]

    def test_free_answers_beside_probabilities(self, tmp_path: Path) -> None:
        free = label_rows(sources=6, probabilities=False, **SMALL)  # type: ignore[arg-type]
        scored = label_rows(sources=6, **SMALL)  # type: ignore[arg-type]
        page = check(reported(tmp_path, ("free", free), ("scored", scored)))
        assert "Without probabilities, and so not here: free." in page.text

    def test_broken_off(self, tmp_path: Path) -> None:
        report = reported(tmp_path, ("x", label_rows(sources=6, **SMALL)), complete=False)  # type: ignore[arg-type]
        said = "x is not complete: 72 of 144 rows are there, and figures are of those."
        assert said in check(report).text
        assert said in report.notes

    def test_errors_alone(self, tmp_path: Path) -> None:
        rows = label_rows(sources=4, errors=10_000, **SMALL)  # type: ignore[arg-type]
        page = check(reported(tmp_path, ("x", rows), settings=QUICK))
        assert "No sound got an answer." in page.text
        assert "sound is empty: give one with samples" in page.text

    def test_transcripts(self, tmp_path: Path) -> None:
        report = reported(tmp_path, ("x", transcribe_rows()), task="transcribe", labels=None)
        page = check(report)
        assert "WER by SNR" in page.text
        assert "Its WER is" in page.text

    def test_two_transcribers(self, tmp_path: Path) -> None:
        runs = [(name, transcribe_rows(seed=seed)) for seed, name in enumerate("xy")]
        for row, other in zip(runs[0][1], runs[1][1], strict=True):
            other["true_text"], other["words"] = row["true_text"], row["words"]
        report = reported(tmp_path, *runs, task="transcribe", labels=None)
        assert "comparison.csv" in report.files
        check(report)

    def test_answers(self, tmp_path: Path) -> None:
        report = reported(tmp_path, ("x", answer_rows()), settings=QUICK, task="answer", labels=None)
        assert "Which instrument is it?" in check(report).text
        assert "curve-duration-ms-0.png" in report.files

    def test_another_split_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="name one of them"):
            reported(tmp_path, ("x", label_rows(sources=2)), settings=Settings(split="eval"))

    def test_runs_of_other_labels_are_refused(self, tmp_path: Path) -> None:
        a = write_run(tmp_path / "a", label_rows(sources=1), sounds=False)
        b = write_run(tmp_path / "b", label_rows(sources=1), labels=("nonspeech", "speech"), sounds=False)
        with pytest.raises(InputError, match="report them apart"):
            make_report([read_run(a), read_run(b)])


class TestHostileNames:
    EVIL = (
        "<script>alert(1)</script>",
        "$\\frac{x}$ \" onclick='x' --></svg><b>",
        "_hidden & \x07\ud800 {{ 7 * 7 }}",
    )

    def test_all_is_escaped(self, tmp_path: Path) -> None:
        labels = {self.EVIL[0]: Observer(), self.EVIL[1]: Observer()}
        rows = label_rows(labels, sources=6, errors=3, **SMALL)  # type: ignore[arg-type]
        for row in rows:
            row["path"] = "sounds/x.wav"
            row["segment_id"] = f"{row['segment_id']}{self.EVIL[2][:11]}"
            row["category"] = self.EVIL[len(row["segment_id"]) % 2]
            row["raw_output"] = self.EVIL[0]
            row["dataset"] = self.EVIL[len(row["segment_id"]) % 3][:11]
            if row["error"]:
                row["error"] = self.EVIL[0]
        folder = write_run(tmp_path / "x", rows, labels=list(labels), model=self.EVIL[2], prompt=self.EVIL[1])
        report = make_report([read_run(folder)], QUICK)
        page = check(report)
        assert "<script>alert" not in report.page
        assert "</svg><b>" not in report.page
        assert "{{ 7 * 7 }}" in page.text
        assert page.text.count("<script>alert(1)</script>") > 3
        assert "\x07" not in report.page

    def test_pictures_of_several_such_runs(self, tmp_path: Path) -> None:
        runs = [(f"{number}", label_rows(sources=3, seed=number, **SMALL)) for number in range(3)]  # type: ignore[arg-type]
        folders = [
            write_run(tmp_path / name, rows, model=evil) for (name, rows), evil in zip(runs, self.EVIL, strict=True)
        ]
        report = make_report([read_run(one) for one in folders], NO_FITS)
        check(report)
        legend = "".join(re.findall(r"<svg.*?</svg>", report.page, re.DOTALL)[0])
        assert "_hidden" in legend  # matplotlib would leave it out

    def test_a_spreadsheet_runs_nothing(self) -> None:
        cells = (("=1+1",), ("@x",), ("-10 dB",), ("+5 dB",), ("-cmd",), ('a"b,c',))
        table = Table("t", "t", "", (Column("=x"),), cells)
        read = [row[0] for row in csv.reader(io.StringIO(table.csv()))]
        assert read == ["'=x", "'=1+1", "'@x", "-10 dB", "+5 dB", "'-cmd", 'a"b,c']


class TestWorstCases:
    def rows(self) -> list[Row]:
        rows = label_rows(sources=4, durations=(100.0, 500.0), snrs=(None,), splits={"test": 1.0})
        for number, row in enumerate(rows):
            other = "nonspeech" if row["true_label"] == "speech" else "speech"
            said, p = (other, 0.5 + number / 100) if number % 2 else (row["true_label"], 0.99)
            row |= {"pred_label": said, "confidence": p, f"p_{said}": p}
            row[f"p_{'speech' if said == 'nonspeech' else 'nonspeech'}"] = 1 - p
        return rows

    def test_the_most_confident_mistakes_first(self, tmp_path: Path) -> None:
        rows = self.rows()
        report = reported(tmp_path, ("x", rows), settings=Settings(fits=False, worst=3))
        found = list(csv.DictReader(io.StringIO(report.files["worst.csv"].decode())))
        wrong = [row for row in rows if row["pred_label"] != row["true_label"]]
        expected = sorted(wrong, key=lambda row: row["confidence"], reverse=True)[:3]
        assert [row["sound"] for row in found] == [row["segment_id"] for row in expected]
        assert report.players == 3

    def test_their_sounds_are_in_the_page(self, tmp_path: Path) -> None:
        rows = self.rows()
        rows[15] |= {"start_s": 0.1, "end_s": 0.25}
        report = reported(tmp_path, ("x", rows), settings=Settings(fits=False, worst=1))
        (source,) = Page(report.page).values("src")
        heard, rate = soundfile.read(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        written, _ = soundfile.read(tmp_path / "x" / rows[15]["path"])
        assert rate == 16_000
        assert np.array_equal(heard, written[1600:4000])

    def test_no_more_than_the_page_may_hold(self, tmp_path: Path) -> None:
        report = reported(tmp_path, ("x", self.rows()), settings=Settings(fits=False, sound_bytes=20_000))
        assert 0 < report.players < 8
        cut = 8 - report.players
        assert f"{cut} worst cases have no player, since sounds may take 20000 bytes of the page" in report.notes
        assert check(report).text.count("left out: the page would become too large") == cut
        assert sum(map(len, Page(report.page).values("src"))) <= 20_000

    def test_without_players(self, tmp_path: Path) -> None:
        report = reported(tmp_path, ("x", self.rows()), settings=Settings(fits=False, sound_bytes=0))
        assert report.players == 0
        assert report.notes == ("x heard 8 source(s) only, so that intervals over sources are rough.",)

    def test_sounds_that_are_gone_are_told(self, tmp_path: Path) -> None:
        report = reported(tmp_path, ("x", self.rows()), sounds=False)
        assert report.players == 0
        assert any("8 worst cases have no player, the first because: " in note for note in report.notes)
        assert "500.wav" in check(report).text

    def test_no_mistake(self, tmp_path: Path) -> None:
        rows = [{**row, "pred_label": row["true_label"]} for row in self.rows()]
        assert "No answer is wrong." in check(reported(tmp_path, ("x", rows))).text


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"worst": -1}, "worst is -1"),
        ({"sound_bytes": -1}, "sound_bytes is -1"),
        ({"resamples": 10}, "resamples is 10"),
        ({"at": (75.0,)}, "at is 75.0; it must be shares between 0 and 1"),
        ({"unknown": "kept"}, "unknown is 'kept'"),
        ({"decide": "test"}, "decide is 'test'"),
    ],
)
def test_options(option: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Settings(**option)  # type: ignore[arg-type]
