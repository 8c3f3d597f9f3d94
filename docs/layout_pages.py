"""The page about the layout: its picture comes from the layers that import-linter holds."""

import ast
import re
import textwrap
import tomllib
from pathlib import Path

WIDTH = 96
NAME = 11  # of the longest package, and a space


def layout_pages(docs: Path) -> dict[str, str]:
    """Return the page about the layout with today's picture between its marks."""
    page = docs / "layout.md"
    if not page.is_file():
        return {}
    drawn = f"<!-- layers -->\n```\n{picture(docs.parent)}\n```\n<!-- end -->"
    return {
        "layout.md": re.sub(
            r"<!-- layers -->.*?<!-- end -->", lambda _: drawn, page.read_text(), flags=re.S
        )
    }


def picture(root: Path) -> str:
    """Return a box a layer, from the top; packages in one box do not see each other."""
    rule = f"+{'-' * (WIDTH - 2)}+"
    lines = [rule]
    for layer in layers(root):
        for name in layer:
            shown = textwrap.wrap(about(root / "src/convgate" / name), WIDTH - NAME - 4) or [""]
            lines += [
                f"| {first:{NAME}}{line:{WIDTH - NAME - 4}} |"
                for first, line in zip([name] + [""] * len(shown), shown, strict=False)
            ]
        lines.append(rule)
    return "\n".join(lines)


def layers(root: Path) -> list[list[str]]:
    """Return the layers that pyproject.toml has, from the top, without the way in."""
    with (root / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    found = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [layer.split(" | ") for layer in found if layer != "__main__"]


def about(path: Path) -> str:
    """Return the first line of a package's docstring, or of a module's."""
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
