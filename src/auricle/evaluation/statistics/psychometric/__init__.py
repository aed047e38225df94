"""Psychometric functions: how often a listener is right, by the duration of clips or by their SNR.

found = fit_psychometric(duration_ms, right, source_id, at=(0.75,))
print(found.status, found.threshold(0.75).told("ms"))
"""

from auricle.evaluation.statistics.psychometric.fit import fit_psychometric
from auricle.evaluation.statistics.psychometric.priors import Beta, Priors
from auricle.evaluation.statistics.psychometric.resampling import Goodness
from auricle.evaluation.statistics.psychometric.result import Observer, Psychometric
from auricle.evaluation.statistics.psychometric.thresholds import Threshold

__all__ = ["Beta", "Goodness", "Observer", "Priors", "Psychometric", "Threshold", "fit_psychometric"]
