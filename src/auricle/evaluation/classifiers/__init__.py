"""Who tells labels apart, all behind one interface: see `interface.Classifier`."""

from auricle.evaluation.classifiers.interface import Classified, Classifier
from auricle.evaluation.classifiers.named import BASELINES, classifier_named

__all__ = ["BASELINES", "Classified", "Classifier", "classifier_named"]
