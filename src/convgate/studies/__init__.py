"""Studies: backbone x gate x site x seed on one recipe, with intervals and an answer."""

from convgate.studies.compare import Difference, paired_difference
from convgate.studies.pareto import pareto_front
from convgate.studies.result import StudyResult
from convgate.studies.run import Steps, run_study
from convgate.studies.summary import Row
from convgate.studies.tables import Table, short_table, variant_table

__all__ = [
    "Difference",
    "Row",
    "Steps",
    "StudyResult",
    "Table",
    "paired_difference",
    "pareto_front",
    "run_study",
    "short_table",
    "variant_table",
]
