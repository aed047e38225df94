"""Clean clips made harder to hear, in stated steps, each measured: durations, noise, rooms, filters, gain, codecs.

plan = survey(gather(["clips/"]), Factors(durations=(20, 100, 500), snr=(None, 0.0, 10.0)), Settings())
degrade(plan, "degraded/")
"""

from auricle.evaluation.degrade.chain import Chain, Degraded, Settings
from auricle.evaluation.degrade.clips import gather
from auricle.evaluation.degrade.conditions import Condition, Factors
from auricle.evaluation.degrade.pieces import Padding
from auricle.evaluation.degrade.plan import Plan, survey
from auricle.evaluation.degrade.run import Outcome, degrade

__all__ = [
    "Chain",
    "Condition",
    "Degraded",
    "Factors",
    "Outcome",
    "Padding",
    "Plan",
    "Settings",
    "degrade",
    "gather",
    "survey",
]
