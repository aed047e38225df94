"""Figures of runs made by hand, counted by hand; and of simulated observers, whose thresholds are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from auricle.errors import InputError, OptionError
from auricle.evaluation.analysis import Run, Summary, check_alike, compare, named, read_run, summarise
from auricle.evaluation.analysis.curves import curves
from auricle.evaluation.analysis.decisions import decide, with_dev_threshold
from auricle.evaluation.analysis.factors import DURATION, SNR, levels, varied
from auricle.evaluation.statistics import wilson
from tests.evaluation.report.runs import KEEN, Observer, Row, answer_rows, label_rows, transcribe_rows, write_run

S, N = "speech", "nonspeech"


def row(number: int, true: str, said: str | None, p: float | None = None, **more: object) -> Row:
    """An answer to a sound of a source of its own."""
    shares = {"p_speech": p, "p_nonspeech": None if p is None else 1 - p}
    known = {"segment_id": f"{number}", "source_id": f"source {number}", "split": "test", "error": None}
    return {**known, "true_label": true, "pred_label": said, **shares, **more}


def made(folder: Path, rows: list[Row], **more: object) -> Run:
    return read_run(write_run(folder, rows, sounds=False, **more))  # type: ignore[arg-type]


def counted(folder: Path) -> Run:
    """16 answers, of which one is unknown, and 2 errors."""
    said = [S] * 6 + [None, N] + [N] * 7 + [S]
    rows = [row(i, S if i < 8 else N, one) for i, one in enumerate(said)]
    return made(folder, [*rows, *(row(90 + i, S, None, error="no sound") for i in range(2))])


class TestOverall:
    def test_both_policies_and_errors_apart(self, tmp_path: Path) -> None:
        """The mistake: unknown answers are errors in one script and dropped in another."""
        wrong, dropped = summarise(counted(tmp_path)).overall
        assert (
            (wrong.rows, wrong.errors, wrong.unknown) == (18, 2, 1) == (dropped.rows, dropped.errors, dropped.unknown)
        )
        assert (wrong.policy, dropped.policy) == ("wrong", "dropped")
        assert wrong.figures["accuracy"].value == pytest.approx(13 / 16)
        assert dropped.figures["accuracy"].value == pytest.approx(13 / 15)
        assert wrong.figures["balanced_accuracy"].value == pytest.approx((6 / 8 + 7 / 8) / 2)
        assert dropped.figures["balanced_accuracy"].value == pytest.approx((6 / 7 + 7 / 8) / 2)
        assert wrong.figures["precision"].value == pytest.approx(6 / 7) == dropped.figures["precision"].value
        assert wrong.figures["recall"].value == pytest.approx(6 / 8)
        assert dropped.figures["recall"].value == pytest.approx(6 / 7)
        assert wrong.figures["f1"].value == pytest.approx(12 / 15)
        assert wrong.table is not None
        assert wrong.table.counts.tolist() == [[6, 1, 1], [1, 7, 0]]

    def test_without_unknown_answers_there_is_one_policy(self, tmp_path: Path) -> None:
        run = made(tmp_path, [row(0, S, S), row(1, N, N), row(2, S, N)])
        assert [one.policy for one in summarise(run).overall] == ["wrong"]
        assert [one.policy for one in summarise(run, unknown="dropped").overall] == ["dropped"]

    def test_ranking_by_hand(self, tmp_path: Path) -> None:
        """Of 2 x 3 pairs of a speech and another clip, speech scores higher in 5; one clip has no probability."""
        scores = [(S, 0.9), (S, 0.4), (N, 0.5), (N, 0.2), (N, 0.1)]
        rows = [row(i, true, S if p >= 0.5 else N, p) for i, (true, p) in enumerate(scores)]
        summary = summarise(made(tmp_path, [*rows, row(9, S, None)]), intervals=False)
        auc = summary.reported.figures["auc"]
        assert auc.value == pytest.approx(5 / 6)
        assert auc.rows == 5
        assert "1 answers without probabilities" in auc.note

    def test_by_split_and_all_where_some_rows_have_none(self, tmp_path: Path) -> None:
        rows = [row(i, (S, N)[i % 2], S, split=("dev", "test")[i // 2 % 2]) for i in range(8)]
        assert [one.split for one in summarise(made(tmp_path / "a", rows)).overall] == ["dev", "test"]
        rows[0]["split"] = None
        run = made(tmp_path / "b", rows)
        assert [one.split for one in summarise(run).overall] == ["dev", "test", "all"]
        assert summarise(run).split == "test"
        assert summarise(run, split="all").reported.rows == 8
        with pytest.raises(OptionError, match=r"split is .eval., and .* has all, dev, test"):
            summarise(run, split="eval")

    def test_intervals_are_over_sources(self, tmp_path: Path) -> None:
        """Forty clips of four sources, each right or wrong as a whole, tell as little as four clips."""
        rows = [row(i, S, S if i % 4 < 3 else N, source_id=f"{i % 4}") for i in range(40)]
        rows += [row(100 + i, N, N, source_id=f"n{i % 4}") for i in range(40)]
        right = summarise(made(tmp_path, rows)).reported.labels[0].recall
        low, _ = wilson(30.0, 40.0)
        assert right.value == 0.75
        assert right.how == "sources"
        assert right.low is not None
        assert right.low < low - 0.1

    def test_all_right_has_wilsons_interval(self, tmp_path: Path) -> None:
        accuracy = summarise(made(tmp_path, [row(i, (S, N)[i % 2], (S, N)[i % 2]) for i in range(10)])).reported
        assert (accuracy.figures["accuracy"].low, accuracy.figures["accuracy"].high) == wilson(10.0, 10.0)

    def test_a_run_of_errors_alone_has_no_figures(self, tmp_path: Path) -> None:
        summary = summarise(made(tmp_path, [row(i, S, None, error="no sound") for i in range(3)]), fits=True)
        assert summary.reported.errors == 3
        assert summary.reported.figures == {}
        json.dumps(summary.to_json(), allow_nan=False)

    def test_everything_is_json(self, tmp_path: Path) -> None:
        rows = label_rows(sources=6, errors=2, unknowns=5, durations=(20.0, 60.0, 100.0, 500.0), snrs=(-5.0, 0.0, None))
        summary = summarise(made(tmp_path, rows), fits=True, resamples=100)
        record = json.loads(json.dumps(summary.to_json(), allow_nan=False))
        assert record["reported_split"] == "test"
        assert {one["over"] for one in record["curves"]} == {"duration_ms", "snr_db_nominal"}
        header, lines = summary.table()
        assert all(len(line) == len(header) for line in lines)


class TestConditions:
    def rows(self) -> list[Row]:
        """At 20 ms, 1 of 4 right; at 100 ms 3 of 4; half clean, half at 0 dB; one error and one unknown more."""
        said = {20.0: [S, N, N, S], 100.0: [S, S, N, N]}
        rows = [
            row(
                100 * int(ms) + i,
                true,
                one,
                duration_ms=ms,
                snr_db_nominal=(0.0, None)[i % 2],
                noise=("white", None)[i % 2],
            )
            for ms, answers in said.items()
            for i, (true, one) in enumerate(zip([S, S, N, N], answers, strict=True))
        ]
        rows[3]["pred_label"] = None  # a nonspeech clip at 20 ms
        return [*rows, row(9, S, None, error="no sound", duration_ms=20.0)]

    def test_by_hand(self, tmp_path: Path) -> None:
        summary = summarise(made(tmp_path, self.rows()))
        assert [one.factor.name for one in summary.conditions] == ["duration_ms", "snr_db_nominal"]
        short, long = summary.conditions[0].levels
        assert (short.level.name, short.figure.rows, short.figure.value) == ("20 ms", 4, 0.5)
        assert (short.figure.low, short.figure.high) == wilson(2.0, 4.0)
        assert short.classes[S].value == 0.5 == short.classes[N].value
        assert (long.level.name, long.figure.value) == ("100 ms", 1.0)
        dropped = summarise(made(tmp_path / "d", self.rows()), unknown="dropped").conditions[0].levels[0]
        assert (dropped.figure.rows, dropped.figure.value) == (3, pytest.approx(2 / 3))

    def test_cells_count_each_answer_once(self, tmp_path: Path) -> None:
        cells = summarise(made(tmp_path, self.rows())).cells
        assert [factor.name for factor in cells.factors] == ["duration_ms", "snr_db_nominal"]
        assert sum(cell.total for cell in cells.cells) == 8
        assert cells.cells[0].condition == (S, 20.0, 0.0)
        assert cells.cells[-1].condition == (N, 100.0, None)

    def test_what_has_no_value_comes_last(self) -> None:
        assert [one.name for one in levels(SNR, self.rows())] == ["0 dB", "clean"]

    def test_a_kind_of_noise_that_only_says_that_there_is_some_is_no_factor(self) -> None:
        rows = self.rows()
        assert [one.name for one in varied(rows)] == ["duration_ms", "snr_db_nominal"]
        rows[0]["noise"] = "pink"
        assert [one.name for one in varied(rows)] == ["duration_ms", "snr_db_nominal", "noise"]

    def test_categories_that_are_the_labels_are_no_factor(self) -> None:
        rows = [row(i, (S, N)[i % 2], S, category=("talk", "rain")[i % 2]) for i in range(4)]
        assert varied(rows) == ()
        rows[0]["category"] = "song"
        assert [one.name for one in varied(rows)] == ["category"]

    def test_many_levels_are_put_together(self) -> None:
        found = levels(DURATION, [row(i, S, S, duration_ms=float(100 + i)) for i in range(80)])
        assert len(found) == 8
        assert sum(len(one.members) for one in found) == 80
        assert found[0].name.startswith("100 to ")


class TestCurves:
    def test_thresholds_of_known_observers(self, tmp_path: Path) -> None:
        """Each class has its own, and nobody's is that of both together."""
        rows = label_rows(KEEN, sources=200, snrs=(None,), splits={"test": 1.0}, seed=3)
        run = made(tmp_path, rows)
        for one in curves(run, run.rows, varied(run.rows), "wrong", resamples=100):
            assert one.label is not None
            observer = KEEN[one.label]
            share = (0.75 - observer.guess) / (1 - observer.guess - observer.lapse)
            true_ms = observer.midpoint_ms * 10 ** (math.log(share / (1 - share)) / observer.steep)
            found = one.fit.threshold(0.75).value
            assert isinstance(found, float)
            assert found == pytest.approx(true_ms, rel=0.12), one.told

    def test_a_threshold_outside_is_said_to_be_so(self, tmp_path: Path) -> None:
        deaf = {S: Observer(5000, 0.1), N: Observer(50, 0.5)}
        run = made(tmp_path, label_rows(deaf, sources=40, snrs=(None,), splits={"test": 1.0}))
        summary = summarise(run, fits=True, resamples=100)
        told = {one["label"]: one["thresholds"][1]["told"] for one in summary.to_json()["curves"]}
        assert told[S].startswith(("above the tested range", "no threshold"))
        assert "ms" in told[N]

    def test_clean_sounds_are_in_no_fit_over_snr(self, tmp_path: Path) -> None:
        run = made(tmp_path, label_rows(sources=4, durations=(100.0,), snrs=(-10.0, -5.0, 0.0, 5.0, None)))
        found = [one for one in summarise(run, fits=True, resamples=100).curves if one.label == S]
        assert [one.over.name for one in found] == ["snr_db_nominal"]
        assert [cell.condition for cell in found[0].fit.points] == [-10, -5, 0, 5]

    def test_one_at_each_level_of_the_other_factor_and_pooled(self, tmp_path: Path) -> None:
        run = made(tmp_path, label_rows(sources=4, durations=(20.0, 60.0, 100.0, 500.0), snrs=(0.0, None)))
        found = [one.told for one in summarise(run, fits=True, resamples=100).curves if one.over is DURATION]
        assert found == [f"{label}{at}" for label in (S, N) for at in ("", ", at SNR 0 dB", ", at SNR clean")]

    def test_nothing_to_fit_gives_no_curve(self, tmp_path: Path) -> None:
        run = made(tmp_path, label_rows(sources=4, durations=(None,), snrs=(None,)))
        assert summarise(run, fits=True).curves == ()


class TestDecision:
    def rows(self) -> list[Row]:
        dev = [(S, 0.4), (S, 0.3), (N, 0.2), (N, 0.1)]
        test = [(S, 0.5), (S, 0.28), (S, 0.2), (N, 0.24), (N, 0.26), (N, 0.1)]
        return [row(i, true, N, p, split="dev") for i, (true, p) in enumerate(dev)] + [
            row(50 + i, true, S if p >= 0.5 else N, p, split="test") for i, (true, p) in enumerate(test)
        ]

    def test_from_dev_applied_to_test(self, tmp_path: Path) -> None:
        decision = summarise(made(tmp_path, self.rows())).decision
        assert decision is not None
        assert decision.chosen is not None
        assert decision.figures is not None
        assert decision.chosen.value == pytest.approx(0.25)
        assert decision.figures["accuracy"].value == pytest.approx(4 / 6)

    def test_test_never_moves_it(self, tmp_path: Path) -> None:
        """The mistake: a threshold tuned on test."""
        rows = self.rows()
        for one in rows:
            if one["split"] == "test":
                one["p_speech"], one["p_nonspeech"] = one["p_nonspeech"], one["p_speech"]
        decision = decide(made(tmp_path, rows), "test")
        assert decision is not None
        assert decision.chosen is not None
        assert decision.chosen.value == pytest.approx(0.25)

    def test_without_dev_it_is_left_out_and_said(self, tmp_path: Path) -> None:
        run = made(tmp_path, self.rows())
        for split in ("dev", "all"):
            decision = decide(run, split)
            assert decision is not None
            assert decision.chosen is None
            assert f"the figures are of {split}" in decision.note
        alone = made(tmp_path / "test", [one for one in self.rows() if one["split"] == "test"])
        decision = decide(alone, "test")
        assert decision is not None
        assert decision.note.startswith("no split is called dev")
        with pytest.raises(InputError, match="no split is called dev"):
            with_dev_threshold(alone, "test")

    def test_labels_by_it(self, tmp_path: Path) -> None:
        run = made(tmp_path, [*self.rows(), row(99, S, None, split="test")])
        decided = with_dev_threshold(run, "test")
        said = [one["pred_label"] for one in decided.of("test")]
        assert said == [S, S, N, N, S, N, None]
        assert [one["confidence"] for one in decided.of("test")[:3]] == [0.5, 0.28, 0.8]
        assert decided.of("dev") == run.of("dev")

    def test_other_tasks_have_none(self, tmp_path: Path) -> None:
        assert decide(made(tmp_path, answer_rows(), task="answer", labels=None), "test") is None


class TestOtherTasks:
    def test_wer_is_of_all_words(self, tmp_path: Path) -> None:
        """1 of 10 words and 3 of 5 are 4 of 15, and not the mean of 10 % and 60 %."""
        rows = transcribe_rows(1)[:2]
        for one, words, wrong in zip(rows, (10, 5), (1, 3), strict=True):
            one |= {"words": words, "substitutions": wrong - 1, "insertions": 0, "deletions": 1, "wer": wrong / words}
        figures = summarise(made(tmp_path, rows, task="transcribe", labels=None)).reported.figures
        assert figures["wer"].value == pytest.approx(4 / 15)
        assert figures["deletions"].value == pytest.approx(2 / 15)

    def test_a_sound_in_which_nothing_is_said(self, tmp_path: Path) -> None:
        rows = transcribe_rows(2)
        rows[0] |= {"words": 0, "insertions": 2, "substitutions": 0, "wer": None, "cer": None, "chars": 0}
        run = made(tmp_path, rows, task="transcribe", labels=None)
        words = sum(one["words"] for one in rows)
        wrong = sum(one["substitutions"] + one["insertions"] + one["deletions"] for one in rows)
        assert summarise(run).reported.figures["wer"].value == pytest.approx(wrong / words)

    def test_answers(self, tmp_path: Path) -> None:
        rows = answer_rows()
        summary = summarise(made(tmp_path, rows, task="answer", labels=None), fits=True, resamples=100)
        assert summary.reported.figures["accuracy"].value == pytest.approx(
            sum(one["right"] for one in rows) / len(rows)
        )
        assert [one.label for one in summary.curves] == [None]

    def test_latency(self, tmp_path: Path) -> None:
        rows = [row(i, S, S, preprocess_ms=1.0, model_ms=float(i), latency_ms=i + 1.5) for i in range(1, 101)]
        rows.append(row(999, S, None, error="no sound"))
        found = summarise(made(tmp_path, rows, load_s=2.5)).latency
        assert found is not None
        assert (found.rows, found.load_s, found.model.p50, found.model.p95, found.whole.p99) == (
            100,
            2.5,
            50,
            95,
            100.5,
        )


class TestPairs:
    def runs(self, folder: Path) -> dict[str, Run]:
        better = [row(i, (S, N)[i % 2], (S, N)[i % 2]) for i in range(12)]
        worse = [{**one, "pred_label": S} for one in better]
        worse[0] |= {"pred_label": None, "error": "no sound"}
        return named([made(folder / "a", better, model="a"), made(folder / "b", worse[:-1], model="b")])

    def test_on_the_sounds_that_both_answered(self, tmp_path: Path) -> None:
        found = compare(self.runs(tmp_path), "test", "wrong")
        assert found is not None
        assert (found.rows, found.left_out, found.absent) == (10, 2, 1)
        (one,) = found.comparisons
        assert (one.a, one.b, one.a_better, one.b_better) == ("a", "b", 5, 0)
        assert one.difference == pytest.approx(0.5)  # balanced: 1 against (1 + 0) / 2

    def test_three_runs_have_three_pairs_and_larger_p(self, tmp_path: Path) -> None:
        runs = named([made(tmp_path / f"{seed}", label_rows(seed=seed), model=f"{seed}") for seed in range(3)])
        found = compare(runs, "test", "wrong")
        assert found is not None
        assert len(found.comparisons) == 3
        assert all(one.p is not None and one.adjusted_p is not None for one in found.comparisons)
        assert all((one.adjusted_p or 0) >= (one.p or 1) for one in found.comparisons)

    def test_another_truth_is_refused(self, tmp_path: Path) -> None:
        runs = self.runs(tmp_path)
        other = made(tmp_path / "c", [row(i, N, N) for i in range(12)], model="c")
        with pytest.raises(InputError, match="sound 2 is nonspeech in one run and speech in another"):
            compare({**runs, "c": other}, "test", "wrong")

    def test_runs_that_cannot_stand_together(self, tmp_path: Path) -> None:
        runs = self.runs(tmp_path)
        turned = made(tmp_path / "c", [row(0, S, S)], labels=(N, S), model="c")
        with pytest.raises(InputError, match="report them apart"):
            check_alike({**runs, "c": turned})
        answers = made(tmp_path / "d", answer_rows(1), task="answer", labels=None, model="d")
        with pytest.raises(InputError, match="run a is of task label and d of answer"):
            check_alike({**runs, "d": answers})

    def test_names(self, tmp_path: Path) -> None:
        runs = [
            made(tmp_path / name, [row(0, S, S)], model=model) for name, model in (("a", "x"), ("b", "x"), ("c", "y"))
        ]
        assert list(named(runs)) == ["x (a)", "x (b)", "y"]
        with pytest.raises(InputError, match="named twice"):
            named([runs[0], runs[0]])


def test_a_summary_without_intervals_has_the_same_figures(tmp_path: Path) -> None:
    run = made(tmp_path, label_rows(sources=6))

    def values(summary: Summary) -> dict[str, float | None]:
        return {name: one.value for name, one in summary.reported.figures.items()}

    assert values(summarise(run)) == pytest.approx(values(summarise(run, intervals=False)))
