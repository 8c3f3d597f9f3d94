"""One page a gate, from the docstrings of `convgate.gates`."""

import inspect
import re
from collections import defaultdict

from convgate.errors import InputError
from convgate.gates import GATES, Gate, create_gate, list_gates

WIDTHS = (64, 256)
SIZES = [*(f"parameters at C = {width}" for width in WIDTHS), "starts as the identity by"]
INDEX = """# Gates

Every gate scales its input, y = gate(x) * x, and is built by name:
`convgate.create_gate("seln", 64)`. Inserted with `start="identity"` each leaves the network as it
was: most by a last layer that starts at zero, and by a factor where the scale is not 1 then
(2 sigmoid(0) = 1); the others blended in by one learned number that starts at zero
([how fast they learn](../results/identity_start.md)). A dash: the gate needs an option to take that
width; its page says which.
[Adding a gate](../adding_a_gate.md) takes one file, one test and one import."""


def gate_pages() -> dict[str, str]:
    """Return the text of each page about gates by its path under docs."""
    files: dict[str, list[str]] = defaultdict(list)
    for name in list_gates():
        files[GATES.factory(name).__module__.rpartition(".")[2]].append(name)
    pages = {f"gates/{stem}.md": gate_page(names) for stem, names in files.items()}
    rows = [
        [f"[`{name}`]({stem}.md)", paper(name).splitlines()[0], *sizes(name)]
        for stem, names in sorted(files.items())
        for name in names
    ]
    return pages | {"gates/index.md": f"{INDEX}\n\n{table(['gate', 'paper', *SIZES], rows)}\n"}


def gate_page(names: list[str]) -> str:
    """Return the page of the gates that one file registers."""
    rows = [[f"`{name}`", *sizes(name)] for name in names]
    parts = ["# " + ", ".join(f"`{name}`" for name in names), paper(names[0])]
    tried = (attempt(name, width) for name in names for width in WIDTHS)
    refusals = dict.fromkeys(f"{result}." for result in tried if isinstance(result, str))
    parts += [table(["gate", *SIZES], rows), *refusals]
    for factory in dict.fromkeys(GATES.factory(name) for name in names):
        own = [name for name in names if GATES.factory(name) is factory]
        parts += [f"## {factory.__name__}", *described(factory, own)]
    return "\n\n".join(parts) + "\n"


def paper(name: str) -> str:
    """Return the head of the file that holds a gate: title on the first line, then links."""
    head = inspect.getdoc(inspect.getmodule(GATES.factory(name))) or ""
    return re.sub(r"\. +(?=https://)", ".\n\n", head)


def described(factory: type[Gate], names: list[str]) -> list[str]:
    """Return a class's docstring with its arguments as a table of options."""
    text, _, rest = (inspect.getdoc(factory) or "").partition("\nArgs:\n")
    arguments, _, errors = rest.partition("\nRaises:\n")
    meaning = dict(re.findall(r"^    (\w+): (.+?)(?=\n    \w|\Z)", arguments, re.M | re.S))
    rows = [
        [f"`{option}`", *(f"`{GATES.options(name)[option]!r}`" for name in names), flat(words)]
        for option, words in meaning.items()
        if option != "channels"
    ]
    header = ["option", *(f"`{name}`" for name in names), "meaning"]
    parts = [text.strip().replace("\nSource:", "\n\nSource:")]
    parts.append(table(header, rows) if rows else "No options.")
    return [*parts, f"Raises {flat(errors)}"] if errors else parts


def sizes(name: str) -> list[str]:
    """Return the parameter count at each width, and how the gate starts as the identity."""
    cells = []
    for width in WIDTHS:
        gate = attempt(name, width)
        refused = isinstance(gate, str)
        cells.append("-" if refused else f"{sum(p.numel() for p in gate.parameters()):,}")
    return [*cells, identity(name)]


def identity(name: str) -> str:
    """Say how a gate starts as the identity."""
    constant = create_gate(name, 256).constant_()
    if constant is None:
        return "a blend"
    return (
        "its own parameters" if constant == 1 else f"its own parameters, times {1 / constant:.3g}"
    )


def attempt(name: str, width: int) -> Gate | str:
    """Build a gate, or return the sentence that says why its defaults do not fit."""
    try:
        return create_gate(name, width)
    except InputError as error:
        return str(error)


def flat(text: str) -> str:
    """Return text on one line, safe inside a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
