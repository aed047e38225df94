"""The table of answers and its figures, by hand and against scikit-learn; and the policy for unknown answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from auricle.errors import OptionError
from auricle.evaluation.statistics import Unknown, confusion

SPEECH = ("speech", "nonspeech")

# 10 of speech: 6 right, 3 wrong, 1 unknown. 5 of the rest: 2 right, 1 wrong, 2 unknown.
TRUE = ["speech"] * 10 + ["nonspeech"] * 5
SAID = [*["speech"] * 6, *["nonspeech"] * 3, None, *["nonspeech"] * 2, "speech", None, None]


class TestByHand:
    def test_counts_have_a_column_for_unknown(self) -> None:
        found = confusion(TRUE, SAID, SPEECH)
        assert found.counts.tolist() == [[6, 3, 1], [1, 2, 2]]
        assert (found.rows, found.unknown_rows) == (15, 3)

    def test_unknown_is_wrong(self) -> None:
        found = confusion(TRUE, SAID, SPEECH, "wrong")
        assert found.accuracy == pytest.approx(8 / 15)
        assert found.balanced_accuracy == pytest.approx((6 / 10 + 2 / 5) / 2)
        speech, rest = found.by_label
        assert (speech.support, speech.said, speech.right) == (10, 7, 6)
        assert (speech.precision, speech.recall) == (pytest.approx(6 / 7), pytest.approx(6 / 10))
        assert speech.f1 == pytest.approx(2 * (6 / 7) * 0.6 / (6 / 7 + 0.6))
        assert (rest.precision, rest.recall, rest.f1) == (
            pytest.approx(2 / 5),
            pytest.approx(2 / 5),
            pytest.approx(0.4),
        )
        assert found.macro_f1 == pytest.approx((12 / 17 + 0.4) / 2)

    def test_unknown_is_dropped(self) -> None:
        found = confusion(TRUE, SAID, SPEECH, "dropped")
        assert found.accuracy == pytest.approx(8 / 12)
        assert found.balanced_accuracy == pytest.approx((6 / 9 + 2 / 3) / 2)
        assert found.by_label[0].recall == pytest.approx(6 / 9)
        assert found.by_label[0].precision == pytest.approx(6 / 7)  # what was said is the same

    def test_the_policy_is_part_of_the_result(self) -> None:
        """The mistake: one script counted unknown answers as errors, another dropped them, and neither said so."""
        wrong = confusion(TRUE, SAID, SPEECH)
        dropped = wrong.with_unknown("dropped")
        assert (wrong.unknown, dropped.unknown) == ("wrong", "dropped")
        assert dropped.accuracy == confusion(TRUE, SAID, SPEECH, "dropped").accuracy
        assert wrong.accuracy < dropped.accuracy
        assert (wrong.counts == dropped.counts).all()
        assert wrong.unknown_rows == dropped.unknown_rows == 3


class TestAgainstSklearn:
    @pytest.mark.parametrize("size", [2, 3, 7])
    @pytest.mark.parametrize("unknown", ["wrong", "dropped"])
    def test_every_figure(self, size: int, unknown: Unknown) -> None:
        rng = np.random.default_rng(size)
        labels = [f"label {i}" for i in range(size)]
        true = rng.choice(labels, 400, p=rng.dirichlet(np.full(size, 5.0))).tolist()
        said = [one if rng.random() < 0.6 else str(rng.choice(labels)) for one in true]
        answers = [None if rng.random() < 0.1 else one for one in said]
        found = confusion(true, answers, labels, unknown)

        kept = [(a, b or "unknown") for a, b in zip(true, answers, strict=True) if b or unknown == "wrong"]
        a, b = zip(*kept, strict=True)
        precision, recall, f1, support = metrics.precision_recall_fscore_support(a, b, labels=labels, zero_division=0)
        assert found.accuracy == pytest.approx(metrics.accuracy_score(a, b))
        assert found.balanced_accuracy == pytest.approx(np.mean(recall))
        assert found.macro_f1 == pytest.approx(np.mean(f1))
        for i, one in enumerate(found.by_label):
            assert (one.precision, one.recall, one.f1) == pytest.approx((precision[i], recall[i], f1[i]))
            assert one.support == support[i]
        named = [i for i, one in enumerate(answers) if one]
        table = metrics.confusion_matrix([true[i] for i in named], [answers[i] for i in named], labels=labels)
        assert found.counts[:, :-1].tolist() == table.tolist()


class TestWithoutADenominator:
    def test_a_label_that_nobody_said_has_no_precision(self) -> None:
        rest = confusion(["speech", "nonspeech"], ["speech", "speech"], SPEECH).by_label[1]
        assert (rest.precision, rest.recall, rest.f1) == (None, 0.0, 0.0)

    def test_a_label_that_is_never_true_is_no_part_of_the_mean(self) -> None:
        found = confusion(["speech"] * 4, ["speech", "speech", "speech", "nonspeech"], SPEECH)
        assert found.missing == ("nonspeech",)
        assert found.by_label[1].recall is None
        assert found.balanced_accuracy == 0.75

    def test_dropping_can_leave_nothing(self) -> None:
        found = confusion(["speech", "nonspeech"], [None, None], SPEECH, "dropped")
        assert (found.accuracy, found.balanced_accuracy, found.macro_f1) == (None, None, None)
        assert found.with_unknown("wrong").accuracy == 0.0

    def test_no_row_at_all(self) -> None:
        assert confusion([], [], SPEECH).accuracy is None


@pytest.mark.parametrize(
    ("true", "said", "labels", "message"),
    [
        (
            ["speech"],
            ["Speech"],
            SPEECH,
            "predicted is 'Speech' in row 0; it must be one of 'speech', 'nonspeech', None",
        ),
        (["speech", None], ["speech"] * 2, SPEECH, "true is None in row 1; it must be one of 'speech', 'nonspeech'$"),
        (["speech"], ["speech"], ["speech"], r"labels is \['speech'\]; it must be two or more different ones"),
        (["a"], ["a"], ["a", "a"], "two or more different ones"),
        (["speech"], [], SPEECH, "rows don't match: true 1, predicted 0"),
    ],
)
def test_what_cannot_be_counted(true: list[str], said: list[str | None], labels: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        confusion(true, said, labels)


def test_a_policy_must_be_one_of_two() -> None:
    with pytest.raises(OptionError, match="unknown is 'skipped'; it must be 'wrong' or 'dropped'"):
        confusion(TRUE, SAID, SPEECH, "skipped")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="it must be 'wrong' or 'dropped'"):
        confusion(TRUE, SAID, SPEECH).with_unknown("")  # type: ignore[arg-type]
