"""Training: a recipe goes in; weights, a result and a folder that can be continued come out."""

from convgate.train.fit import build_model, fit
from convgate.train.recipe import Recipe, StudySpec, list_recipes, load_recipe, override
from convgate.train.record import EpochRecord, FitResult

__all__ = [
    "EpochRecord",
    "FitResult",
    "Recipe",
    "StudySpec",
    "build_model",
    "fit",
    "list_recipes",
    "load_recipe",
    "override",
]
