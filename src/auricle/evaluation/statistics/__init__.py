"""Figures with honest intervals, as pure functions on columns of a result: arrays in, small frozen results out.

Rows are clips that were answered; a row whose run failed is no answer, and is left out before. Every interval and every
test takes the clips' sources, because clips of one recording are not independent. What can't be computed is a None with
a note and no exception: a report must not break in the middle. A mistake in what is handed over is an `OptionError`.
scipy is imported when a figure first needs it (extra `eval`).

labels         confusion(true, predicted, labels, unknown) -> Confusion; headline(..., sources): with intervals
two classes    detection(positive, said) -> Detection: d', criterion
scores         roc, pr (positive, score) -> Roc, Pr; eer(positive, score) -> float
probabilities  calibration(event, probability, bins) -> Calibration: ECE, Brier
intervals      wilson(right, total); cells(conditions, right, sources); bootstrap_by_source(statistic, columns, sources)
               and the faster bootstrap_totals -> Interval
two systems    compare_pairs(right_a, right_b, sources) -> Comparison; compare_systems; holm(p_values)
decisions      threshold_from_dev(dev_positive, dev_score, dev_sources, by).apply(test_score, test_sources)
thresholds     fit_psychometric(levels, right, sources, scale=...) -> Psychometric
time           latency(preprocess_ms, model_ms, latency_ms, load_s) -> Latency
"""

from auricle.evaluation.statistics.answers import Confusion, LabelFigures, Unknown, confusion
from auricle.evaluation.statistics.bootstrap import Interval, bootstrap_by_source, bootstrap_totals
from auricle.evaluation.statistics.calibrated import Bin, Calibration, calibration
from auricle.evaluation.statistics.comparison import Comparison, compare_pairs, compare_systems, holm
from auricle.evaluation.statistics.decision import DevThreshold, threshold_from_dev
from auricle.evaluation.statistics.headlines import Headline, headline
from auricle.evaluation.statistics.intervals import Cell, cells, wilson
from auricle.evaluation.statistics.latencies import Latency, Percentiles, latency
from auricle.evaluation.statistics.psychometric import (
    Beta,
    Goodness,
    Observer,
    Priors,
    Psychometric,
    Threshold,
    fit_psychometric,
)
from auricle.evaluation.statistics.ranking import Pr, Roc, eer, pr, roc
from auricle.evaluation.statistics.signals import Detection, detection

__all__ = [
    "Beta",
    "Bin",
    "Calibration",
    "Cell",
    "Comparison",
    "Confusion",
    "Detection",
    "DevThreshold",
    "Goodness",
    "Headline",
    "Interval",
    "LabelFigures",
    "Latency",
    "Observer",
    "Percentiles",
    "Pr",
    "Priors",
    "Psychometric",
    "Roc",
    "Threshold",
    "Unknown",
    "bootstrap_by_source",
    "bootstrap_totals",
    "calibration",
    "cells",
    "compare_pairs",
    "compare_systems",
    "confusion",
    "detection",
    "eer",
    "fit_psychometric",
    "headline",
    "holm",
    "latency",
    "pr",
    "roc",
    "threshold_from_dev",
    "wilson",
]
