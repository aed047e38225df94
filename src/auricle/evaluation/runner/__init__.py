"""`auricle eval`: a task asked about every clip of a manifest, into a folder that can be gone on with.

plan.json     what defines the run: task, labels, prompt, model with its weights, device and numbers
rows.jsonl    a row for each clip, as they come
rows.parquet  all of them in the manifest's order, once they are there
about.json    what doesn't define it: the manifest, times, machine, versions
"""

from auricle.evaluation.runner.labels import LabelTask, labels_of
from auricle.evaluation.runner.run import Outcome, evaluate
from auricle.evaluation.runner.tasks import Task

__all__ = ["LabelTask", "Outcome", "Task", "evaluate", "labels_of"]
