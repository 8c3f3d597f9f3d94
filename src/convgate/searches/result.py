"""The outcome of a search: its answer, its table, and the recipe that it chose."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convgate.searches.latency import LatencyModel
from convgate.searches.proposals import Proposal
from convgate.searches.space import Combination, Space
from convgate.studies.grid import BASE
from convgate.studies.result import StudyResult
from convgate.studies.statistics import VariantRow
from convgate.studies.tables import short_table
from convgate.tables import Readable, Table
from convgate.train.recipe import Recipe

PLAIN = "No combination beats the plain network."


@dataclass(frozen=True, repr=False)
class SearchResult(Readable):
    """A finished search; it prints as the table of what was trained in full, and its answer."""

    out: Path  # its folder
    space: Space  # what there was to choose
    latency: LatencyModel  # of every gate in every stage, and the sum
    proposals: tuple[Proposal, ...]  # what was looked at, within the budget
    study: StudyResult  # the finalists and the plain network, trained in full

    @property
    def budget(self) -> float:
        return self.study.budget

    @property
    def gains(self) -> list[VariantRow]:
        """The finalists within the budget that are shown to be better, the best first."""
        rows = [r for r in self.study.rows if r.difference and r.fits(self.budget)]
        shown = [r for r in rows if r.difference and r.difference.verdict == "higher"]
        return sorted(shown, key=lambda r: -(r.mean or 0.0))

    @property
    def best(self) -> Combination:
        """The combination to take: the plain network where no gain is shown."""
        name = self.gains[0].variant.name if self.gains else BASE
        return self.space.combination(name)

    @property
    def recipe(self) -> Recipe:
        """The recipe that was chosen."""
        return self.space.recipe(self.study.recipe, self.best)

    @property
    def answer(self) -> str:
        """What to take, in a sentence or two."""
        said = self.study.answer
        return said if self.gains else f"{PLAIN} {said}"

    @property
    def finalists(self) -> tuple[Combination, ...]:
        """What was trained in full, the plain network first."""
        names = [row.variant.name for row in self.study.rows if not row.variant.is_base]
        return tuple(self.space.combination(name) for name in (BASE, *names))

    def table(self) -> Table:
        notes = ("", self.answer, self.latency.describe())
        return replace(short_table(self.study.rows, self.budget), notes=notes)

    def proposal_rows(self) -> list[dict[str, Any]]:
        """Return what was looked at, the best score first."""
        return [
            {"gates": self.space.label(p.combination), "score": p.score, "ratio": p.predicted}
            for p in sorted(self.proposals, key=lambda p: -p.score)
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "answer": self.answer,
            "best": by_stage(self.space, self.best),
            "budget": self.budget,
            "latency_sum": {
                "tolerance": self.latency.tolerance,
                "errors": self.latency.errors,
                "checks": len(self.latency.checks),
            },
            "looked_at": len(self.proposals),
            "space": self.space.size,
            "proposals": self.proposal_rows(),
            "confirmed": self.study.to_dict(),
        }


def by_stage(space: Space, combination: Combination) -> dict[str, str]:
    """Return the gate of each stage that has one."""
    placed = zip(space.stages, combination, strict=True)
    return {str(stage): gate for stage, gate in placed if gate != BASE}
