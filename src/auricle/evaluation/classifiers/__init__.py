"""Who tells labels apart, all behind one interface: see `interface.Classifier`."""

from auricle.evaluation.classifiers.interface import Classified, Classifier

__all__ = ["Classified", "Classifier"]
