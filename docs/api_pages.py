"""One page a package: the site renders its docstrings there. One page lists what `convgate` has."""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import convgate

ALSO = {"errors": ("InputError", "CorruptFile", "Diverged"), "registry": ("Registry",)}
HEAD = """# Python

Everything here is `from convgate import NAME`; each name leads to its description. The packages
below have more, for those who build on them."""


def api_pages() -> dict[str, str]:
    """Return the text of each page about Python by its path under docs."""
    found = packages()
    pages = {f"api/{name}.md": page(name, offered) for name, offered in found.items()}
    surface = [f"| [`{name}`]({link(name)}) | {summary(name)} |" for name in convgate.__all__]
    rows = [f"| [`convgate.{name}`]({name}.md) | {first_line(module(name))} |" for name in found]
    parts = [HEAD, table("name", surface), "## Packages", table("package", rows)]
    return pages | {"api/index.md": "\n\n".join(parts) + "\n"}


def packages() -> dict[str, tuple[str, ...]]:
    """Return what each package says that it offers, without the command line."""
    every = pkgutil.walk_packages(convgate.__path__)
    top = [m.name for m in every if m.ispkg and m.name not in ("cli", "recipes")]
    below = ("tasks.detect", "train.annotated", "train.data")
    offered = {name: tuple(getattr(module(name), "__all__", ())) for name in sorted([*top, *below])}
    return {name: names for name, names in offered.items() if names} | ALSO


def module(name: str) -> ModuleType:
    """Import a package of ours."""
    return importlib.import_module(f"convgate.{name}")


def page(package: str, names: tuple[str, ...]) -> str:
    """Return a page that has the site describe what a package offers."""
    parts = [f"# convgate.{package}", inspect.getdoc(module(package)) or ""]
    return "\n\n".join([*parts, *(f"::: {path(package, name)}" for name in names)]) + "\n"


def path(package: str, name: str) -> str:
    """Return where a thing is defined; some modules have the name of the function in them."""
    thing = getattr(module(package), name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    return f"convgate.{package}.{name}"


def link(name: str) -> str:
    """Return the link from the index to the description of a public name."""
    home = convgate._HOME[name]
    package = next(p for p, names in packages().items() if home.startswith(p) and name in names)
    return f"{package}.md#{path(package, name)}"


def summary(name: str) -> str:
    """Return the first sentence about a public name."""
    return first_line(getattr(convgate, name))


def first_line(thing: Any) -> str:
    """Return the first line of a docstring, safe in a table."""
    return (inspect.getdoc(thing) or "").partition("\n")[0].replace("|", "\\|")


def table(name: str, rows: list[str]) -> str:
    """Return rows below their head."""
    return "\n".join([f"| {name} | what it is |", "| --- | --- |", *rows])
