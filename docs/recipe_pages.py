"""The page about recipes: its keys come from the dataclasses, its list from the packaged files."""

from gate_pages import flat, table

from convgate.train.keys import about_section, list_keys, list_sections
from convgate.train.recipe import list_recipes, load_recipe

HEAD = """# Recipes

A recipe is a TOML file with all that decides on a training. Nothing is inherited between recipes,
and an unknown key is refused with the nearest known one. `convgate recipe new my.toml` writes one
with every key in it, `convgate recipe show NAME` prints a packaged one, and
`convgate recipe keys PART` looks a key up. Any key can be changed for one run:
`convgate train NAME --set optimizer.lr=0.01`."""


def recipe_pages() -> dict[str, str]:
    """Return the text of the page by its path under docs."""
    found = [(name, load_recipe(name)) for name in list_recipes()]
    rows = [
        [f"`{name}`", f"`{r.model.name}`", r.task.name, f"`{r.data.name}`", flat(r.source)]
        for name, r in found
    ]
    packaged = table(["recipe", "network", "task", "data", "where its values come from"], rows)
    sections = [section_text(name) for name in ("", *list_sections())]
    return {"recipes.md": "\n\n".join([HEAD, *sections, "## Packaged recipes", packaged]) + "\n"}


def section_text(section: str) -> str:
    """Return the keys of one table of a recipe."""
    rows = [
        [code(key.name), flat(key.kind), code(key.default), flat(key.meaning), code(key.example)]
        for key in list_keys()
        if key.section == section
    ]
    header = f"## `[{section}]`\n\n{about_section(section)}" if section else "## At the top"
    return f"{header}\n\n{table(['key', 'type', 'default', 'meaning', 'example'], rows)}"


def code(text: str) -> str:
    """Return a value as code, cut where it is long; a word that is no value stays a word."""
    short = text if len(text) <= 48 else f"{text[:48]} ..."
    return short if text in ("", "required") else f"`{flat(short)}`"
