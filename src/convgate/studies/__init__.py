"""Studies: backbone x gate x site x seed on one recipe, with intervals and an answer."""

from convgate.studies.result import StudyResult
from convgate.studies.run import Steps, run_study
from convgate.studies.statistics import Difference, VariantRow, paired_difference, pareto_front

__all__ = [
    "Difference", "Steps", "StudyResult", "VariantRow", "paired_difference", "pareto_front",
    "run_study",
]  # fmt: skip
