"""From the rows of a run to its figures: pure functions, and no pictures.

run = read_run("results/tiny")
print(*summarise(run).table())

The statistics are those of `auricle.evaluation.statistics`; here it is decided which rows go into them.
"""

from auricle.evaluation.analysis.pairs import Pairs, check_alike, compare, named
from auricle.evaluation.analysis.runs import Run, read_run
from auricle.evaluation.analysis.summary import Summary, summarise

__all__ = ["Pairs", "Run", "Summary", "check_alike", "compare", "named", "read_run", "summarise"]
