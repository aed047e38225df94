"""Training an AudioLM on tokenised sound: the loop, what it keeps, what it measures.

Importing this package brings no torch; `run.train` does.
"""

from auricle.audiolm.training.settings import Architecture, Data, Every, Optimising, Run, Settings

__all__ = ["Architecture", "Data", "Every", "Optimising", "Run", "Settings"]
