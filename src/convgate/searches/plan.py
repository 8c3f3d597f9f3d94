"""What a search does: its recipe, its space and its limits, from a caller's choices."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict

from convgate.errors import InputError
from convgate.gates import GATES
from convgate.searches.space import Space, make_space
from convgate.studies.grid import BASE
from convgate.train.recipe import Recipe, chosen, gate_settings, load_recipe, override
from convgate.train.sections import StudySpec


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a search may try, and what it asks for."""

    budget: float = 1.10  # the latency allowed, over that of the plain network
    trials: int = 200  # combinations that Optuna may propose
    best: int = 2  # combinations that are trained in full
    uniform: int = 2  # gates that are trained in full where each is alone, the best first
    seeds: int = 3  # trainings in full of each
    held_out: float = 0.2  # share of the training pictures that the search scores on
    seed: int = 0  # of the sampler, and of the random combinations

    def __post_init__(self) -> None:
        if not 1 < self.budget < float("inf"):
            raise InputError(
                f"budget={self.budget}: a multiple of the plain network's latency, above 1"
            )
        for key in ("trials", "best", "seeds"):
            if getattr(self, key) < 1:
                raise InputError(f"{key}={getattr(self, key)}: a search needs at least 1")
        if self.uniform < 0 or self.seed < 0:
            raise InputError("uniform and seed must be 0 or more")
        if not 0 < self.held_out <= 0.9:
            raise InputError(
                f"held_out={self.held_out}: the search scores on a share of the training pictures, "
                "above 0 and up to 0.9, such as 0.2"
            )


class SearchChoices(TypedDict, total=False):
    """What a caller may choose; what is absent or None stays the recipe's, or as in `Limits`.

    Args:
        gates: Gate names; those of the recipe's study by default.
        at: The site of the gates; that of the recipe's gate by default, or "block_end".
        stages: The stages to search; all that have the site by default.
        start: Whether the gates start as the "identity", or as their "paper" says; by default the
            identity in a network that starts from weights, and the paper's elsewhere.
        model: Another network: a name, or a file or folder whose weights and gates it starts from.
        pretrained: The network by name starts from its library's weights.
        weights: A checkpoint that the network by name starts from.
        settings: Single keys of the recipe, as in "schedule.epochs=5", and options of every gate
            that has them, as in "reduction=8".
        data: Another path of the data.
        skip_bad: Whether damaged images are left out.
        budget: As in `Limits`; likewise all below.
        trials: Combinations that Optuna may propose.
        best: Combinations that are trained in full.
        uniform: Gates that are trained in full where each is alone.
        seeds: Trainings in full of each.
        held_out: Share of the training pictures that the search scores on.
        seed: Of the sampler.
    """

    gates: Sequence[str] | None
    at: str | None
    stages: Sequence[int] | None
    start: str | None
    model: str | None
    pretrained: bool | None
    weights: str | Path | None
    settings: Sequence[str] | None
    data: str | Path | None
    skip_bad: bool | None
    budget: float | None
    trials: int | None
    best: int | None
    uniform: int | None
    seeds: int | None
    held_out: float | None
    seed: int | None


@dataclass(frozen=True)
class SearchPlan:
    """What a search does."""

    recipe: Recipe  # of the plain network; every training of the search is by it
    space: Space  # what there is to choose
    limits: Limits

    def fingerprint(self) -> dict[str, Any]:
        """Return what has to stay in a folder: what is measured and ranked depends on it."""
        return {
            "recipe": self.recipe.fingerprint(),
            "space": self.space.fingerprint(),
            "held_out": self.limits.held_out,
            "seed": self.limits.seed,
        }

    @property
    def asked(self) -> dict[str, Any]:
        """What the choice of the finalists depends on, beside the fingerprint."""
        return {key: asdict(self.limits)[key] for key in ("budget", "trials", "best", "uniform")}


_LIMITS = {field.name for field in fields(Limits)}
_NETWORK = ("model", "pretrained", "weights", "data", "skip_bad")


def make_search(recipe: Recipe | str | Path, choices: SearchChoices) -> SearchPlan:
    """Sort a caller's choices into a plan.

    Raises:
        InputError: for what no recipe, network or gate takes, or where there is nothing to choose.
    """
    given: dict[str, Any] = {k: v for k, v in choices.items() if v is not None}
    limits = Limits(**{key: given.pop(key) for key in _LIMITS & given.keys()})
    opened = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    settings, options = gate_settings(given.pop("settings", ()))
    network: dict[str, Any] = {key: given.pop(key) for key in _NETWORK if key in given}
    opened = chosen(override(opened, *settings), **network)
    if opened.task.name != "classify":
        raise InputError(
            f"the recipe's task is to {opened.task.name}, and a search trains classifiers; search "
            "with the backbone, and put what it finds into [gate.stages] of this recipe"
        )
    gates = given.pop("gates", None)
    names = _names(opened.study, gates)
    own = opened.gate
    at = given.get("at") or (own.at if own is not None else "block_end")
    start = given.get("start") or (own.start if own is not None else "depends")
    options = _study_options(opened.study, names) | options
    plain = replace(opened, gate=None, study=None)
    space = make_space(
        plain, names, at=at, stages=given.get("stages"), start=start, options=options
    )
    return SearchPlan(plain, space, limits)


def _names(study: StudySpec | None, given: Sequence[str] | None) -> list[str]:
    if isinstance(given, str):
        raise InputError(f"gates={given!r}: give a list of names")
    names = given if given is not None else study.gates if study is not None else ()
    if not names:
        raise InputError("the recipe has no [study] section; name the gates to choose from")
    for name in names:
        GATES.load(name)
    return [name for name in names if name != BASE]


def _study_options(study: StudySpec | None, gates: Sequence[str]) -> dict[str, object]:
    """Return the options that the recipe's study gives its gates, which must agree."""
    found: dict[str, object] = {}
    for gate, options in (study.options if study is not None else {}).items():
        if gate not in gates:
            continue
        for key, value in options.items():
            if found.setdefault(key, value) != value:
                raise InputError(
                    f"study.options: {key} is {found[key]!r} and {value!r}, and the gates of one "
                    f"network share it; give one with --set {key}={value}"
                )
    return found
