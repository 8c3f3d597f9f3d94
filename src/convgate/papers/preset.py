"""The rows of a printed table as the variants of a study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from convgate.errors import InputError
from convgate.networks.specs import ModelSpec
from convgate.papers.build import is_buildable
from convgate.papers.recipes import recipe_name
from convgate.papers.table import PaperRow, PaperTable, list_tables, load_table
from convgate.studies.grid import BASE, Variant, VariantSpec, unique
from convgate.train.recipe import Recipe, load_recipe, override


@dataclass(frozen=True)
class TablePreset:
    """Rows of a printed table that a study trains."""

    name: str
    table: PaperTable
    chosen: tuple[PaperRow, ...]  # the rows that were asked for and name a network
    bases: tuple[PaperRow, ...]  # the rows that these are compared with
    remark: str  # which rows of which table, and what of them is not as printed

    def recipe(self) -> Recipe:
        """Return the one recipe that trains the chosen rows."""
        found: dict[tuple[str, ...], list[str]] = {}
        for row in self.chosen:
            found.setdefault((recipe_name(self.table, row), *row.settings), []).append(row.name)
        if len(found) > 1:
            listed = "; ".join(f"{', '.join(key)}: {_few(rows)}" for key, rows in found.items())
            raise InputError(
                f"the rows are trained by different recipes ({listed}); choose rows of one with"
                " --rows, or name a recipe for all of them"
            )
        name, *settings = next(iter(found))
        return override(load_recipe(name), *settings)

    def networks(self, recipe: Recipe) -> dict[Variant, VariantSpec]:
        """Return what each row builds, in the order of the table."""
        wanted = {row.name for row in (*self.bases, *self.chosen)}
        return dict(_entry(row, recipe) for row in self.table.row if row.name in wanted)


def open_preset(name: str, patterns: Sequence[str] | None, *, any_recipe: bool) -> TablePreset:
    """Choose rows of a printed table, and the rows that they are compared with."""
    table = load_table(name)
    asked = {row.name for pattern in patterns or ["*"] for row in table.select(pattern)}
    rows = [row for row in table.row if row.name in asked]
    chosen = [row for row in rows if _is_trainable(table, row, any_recipe)]
    if not chosen:
        raise InputError(
            f"no chosen row of {name} is a classification network that a recipe trains;"
            f" there are such rows in {', '.join(list_presets())}"
        )
    bases = [table.find(base) for base in unique(row.base or row.name for row in chosen)]
    left = [row.name for row in rows if row not in chosen]
    tied = any(row.build is not None and row.build.tied_stem for row in chosen)
    parts = [
        f"{_few([row.name for row in chosen])} of {table.source}",
        *([f"without {', '.join(left)}, which no recipe trains"] if left else []),
        *(["a gate that two places share is two gates here"] if tied else []),
    ]
    return TablePreset(name, table, tuple(chosen), tuple(bases), "; ".join(parts))


def chosen_preset(
    name: str | None, patterns: Sequence[str] | None, *, any_recipe: bool
) -> TablePreset | None:
    """Do as `open_preset`, or give None where no table is named."""
    if name is not None:
        return open_preset(name, patterns, any_recipe=any_recipe)
    if patterns is not None:
        raise InputError("--rows chooses rows of a printed table; name the table with --preset")
    return None


def list_presets() -> list[str]:
    tables = {name: load_table(name) for name in list_tables()}
    return [
        name
        for name, table in tables.items()
        if any(_is_trainable(table, row, any_recipe=False) for row in table.row)
    ]


def _is_trainable(table: PaperTable, row: PaperRow, any_recipe: bool) -> bool:
    classifies = row.build is not None and row.build.task == "classify" and is_buildable(row)
    return classifies and (any_recipe or bool(recipe_name(table, row)))


def _entry(row: PaperRow, recipe: Recipe) -> tuple[Variant, VariantSpec]:
    build = row.build
    assert build is not None
    own = build.model == recipe.model.name
    model = replace(recipe.model if own else ModelSpec(name=build.model), options=build.options)
    gate = build.gate
    site = "" if gate is None else gate.replaces or gate.at
    family = row.base or row.name
    variant = Variant(build.model, gate.name if gate else BASE, site, row.name, family)
    return variant, VariantSpec(model=model, gate=gate)


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:4])
    return shown if len(listed) <= 4 else f"{shown} and {len(listed) - 4} more"
