"""The command that trains a row, for an accuracy of one's own."""

import shlex
from dataclasses import asdict, replace

from convgate.papers.table import Build, PaperTable, Row
from convgate.spec import to_table
from convgate.train.recipe import GateSpec, Recipe, load_recipe, override


def train_command(name: str, table: PaperTable, row: Row) -> str:
    """Return `convgate train ...` for a row; nothing where no recipe is known.

    A gate that two places share is trained as two gates.
    """
    recipe = recipe_name(table, row)
    if not recipe or row.build is None:
        return ""
    words = ["convgate", "train", recipe]
    for setting in (*settings(row.build), *row.settings):
        words += ["--set", setting]
    if row.build.gate is None and load_recipe(recipe).gate is not None:
        words += ["--gate", "none"]
    return shlex.join([*words, "--out", f"runs/{name}/{row.name}"])


def row_recipe(table: PaperTable, row: Row) -> Recipe | None:
    """Return the recipe that the command trains; None where there is no command."""
    name = recipe_name(table, row)
    if not name or row.build is None:
        return None
    recipe = override(load_recipe(name), *settings(row.build), *row.settings)
    return recipe if row.build.gate else replace(recipe, gate=None)


def recipe_name(table: PaperTable, row: Row) -> str:
    """Return the recipe of a row's network: its own or the table's; "" where there is none."""
    if row.build is None or not row.build.model:
        return ""
    return table.recipe if row.recipe is None else row.recipe


def settings(build: Build) -> list[str]:
    """Return what turns any recipe's network into the row's, as whole sections."""
    model = {"name": build.model, **({"options": build.options} if build.options else {})}
    sections = [f"model={_inline(model)}"]
    if build.gate is not None:
        plain = asdict(GateSpec(name=build.gate.name))
        gate = {k: v for k, v in to_table(build.gate).items() if k == "name" or v != plain[k]}
        sections.append(f"gate={_inline(gate)}")
    return sections


def _inline(value: object) -> str:
    """Return an inline value of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
