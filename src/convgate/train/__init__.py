"""Training: a recipe goes in; weights, a result and a folder that can be continued come out."""

from convgate.train.build import build_model
from convgate.train.evaluate import Evaluation, evaluate
from convgate.train.fit import fit
from convgate.train.recipe import Recipe, list_recipes, load_recipe, override
from convgate.train.record import EpochRecord, RunResult
from convgate.train.sections import StudySpec

__all__ = [
    "EpochRecord", "Evaluation", "Recipe", "RunResult", "StudySpec", "build_model", "evaluate",
    "fit", "list_recipes", "load_recipe", "override",
]  # fmt: skip
