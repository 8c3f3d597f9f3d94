"""Which combinations are trained in full, and their study."""

from collections.abc import Sequence
from dataclasses import dataclass

from convgate.searches.proposals import Proposal, ordered
from convgate.searches.space import Combination, Space
from convgate.studies.grid import BASE, Variant, VariantSpec, unique
from convgate.train.recipe import Recipe

SPARE = 3
"""How many times as many proposals are measured as are wanted: some turn out too slow."""


def shortlist(
    space: Space, proposals: Sequence[Proposal], *, best: int, uniform: int
) -> list[Proposal]:
    """Return the proposals whose latency is measured, in the order to take them."""
    gated = [p for p in ordered(proposals) if p.combination != space.plain]
    alone = [p for p in gated if is_alone(p.combination)] if uniform else []
    return unique([*gated[: SPARE * best], *alone])


def choose_finalists(
    space: Space, within: Sequence[Proposal], *, best: int, uniform: int
) -> list[Combination]:
    """Return the best combinations, and the widest placements of a single gate each.

    Args:
        space: What there was to choose.
        within: Proposals whose measured latency meets the budget.
        best: How many combinations.
        uniform: For how many gates, the best first, also the placement in as many stages as the
            budget allows.
    """
    gated = ordered([p for p in within if p.combination != space.plain])
    rivals = [r for gate in space.gates if (r := _widest(gate, gated)) is not None]
    rivals.sort(key=lambda p: -p.score)
    return unique(p.combination for p in [*gated[:best], *rivals[:uniform]])


def is_alone(combination: Combination) -> bool:
    """Whether a combination has one gate, in any number of stages."""
    return len(set(combination) - {BASE}) == 1


def _widest(gate: str, proposals: Sequence[Proposal]) -> Proposal | None:
    mine = [p for p in proposals if set(p.combination) - {BASE} == {gate}]
    return max(
        mine, key=lambda p: (len(p.combination) - p.combination.count(BASE), p.score), default=None
    )


@dataclass(frozen=True)
class Finalists:
    """Combinations as the variants of a study."""

    space: Space
    combinations: Sequence[Combination]
    base: Recipe

    @property
    def name(self) -> str:
        return "search"

    @property
    def remark(self) -> str:
        return "the best combinations of a search, and each gate where it is best alone"

    def recipe(self) -> Recipe:
        return self.base

    def networks(self, recipe: Recipe) -> dict[Variant, VariantSpec]:
        plain = {Variant(recipe.model.name): VariantSpec(model=recipe.model)}
        return plain | {
            self.variant(c): VariantSpec(model=recipe.model, gate=self.space.gate_spec(c))
            for c in self.combinations
        }

    def variant(self, combination: Combination) -> Variant:
        model, gates = self.base.model.name, unique(g for g in combination if g != BASE)
        label = self.space.label(combination)
        return Variant(model, ",".join(gates), self.space.at, name=label, family=model)
