"""One page a verb: the prose is the page's own, the options below it come from the command line."""

from pathlib import Path
from typing import Any

from gate_pages import flat, table
from typer.main import get_command

from convgate.cli import app

OPTIONS = "## Options"


def verb_pages(docs: Path) -> dict[str, str]:
    """Return the text of each page about a verb by its path under docs."""
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    pages = {f"verbs/{name}.md": verb_page(docs, name, verb) for name, verb in verbs.items()}
    rows = [[f"[`convgate {name}`]({name}.md)", flat(verb.help)] for name, verb in verbs.items()]
    return pages | {
        "verbs/index.md": f"# The command line\n\n{table(['verb', 'what for'], rows)}\n"
    }


def verb_page(docs: Path, name: str, verb: Any) -> str:
    """Return the page of one verb, its written part kept."""
    page = docs / f"verbs/{name}.md"
    written = page.read_text() if page.is_file() else f"# `convgate {name}`\n\n"
    prose = written.partition(OPTIONS)[0].rstrip()
    commands = getattr(verb, "commands", None)
    if commands is None:
        return f"{prose}\n\n{OPTIONS}\n\n{options(verb)}\n"
    parts = [f"### `{name} {sub}`\n\n{flat(c.help)}\n\n{options(c)}" for sub, c in commands.items()]
    return "\n\n".join([prose, OPTIONS, *parts]) + "\n"


def options(command: Any) -> str:
    """Return a command's arguments and options as a table."""
    rows = []
    for parameter in command.params:
        argument = parameter.param_type_name == "argument"
        shown = parameter.name.upper() if argument else ", ".join(parameter.opts)
        default = "required" if parameter.required else default_text(parameter.default)
        rows.append([f"`{shown}`", default, flat(parameter.help or "")])
    return table(["option", "default", "meaning"], rows)


def default_text(default: object) -> str:
    """Return a default as it is typed; nothing for what is off or left open."""
    return "" if default in (None, False, "", ()) else f"`{default}`"
