"""The report as Markdown, beside its picture."""

import re
from collections.abc import Mapping, Sequence

from convgate.studies.provenance import (
    Pairs,
    data_pairs,
    failures,
    latency_pairs,
    machine_pairs,
    notes,
)
from convgate.studies.result import StudyResult
from convgate.studies.tables import Table, run_cells, variant_table


def render_markdown(result: StudyResult, pictures: Mapping[str, Sequence[str]]) -> str:
    """Return the report; its first line is the answer.

    Args:
        result: The study.
        pictures: What a picture shows, and its files.
    """
    parts = [
        cell(result.answer),
        f"# Study of {cell(', '.join(dict(data_pairs(result))[k] for k in ('backbone', 'data')))}",
        table(variant_table(result)),
        *(
            f"![{title}]({name})"
            for title, names in pictures.items()
            for name in names
            if name.endswith(".svg")
        ),
        "Rows in bold lie on the Pareto front: nothing is both faster and more accurate.",
        _listed("Runs without a value", failures(result)),
        _listed("How to read it", notes(result)),
        _pairs("Data and training", data_pairs(result)),
        _pairs("Latency", latency_pairs(result)),
        _pairs("Environment", machine_pairs(result)),
        f"## Runs\n\n{table(run_cells(result))}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(content: Table) -> str:
    """Return a Markdown table; the marked rows have a bold name."""
    head = [cell(title) for title in content.head]
    lines = [_line(head), _line(["---", *["---:"] * (len(content.head) - 1)])]
    for i, row in enumerate(content.body):
        cells = [cell(value) for value in row]
        if i in content.marked:
            cells[0] = f"**{cells[0]}**"
        lines.append(_line(cells))
    return "\n".join(lines)


def cell(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    plain = re.sub(r"([\\`*|<>])", r"\\\1", text.replace("\n", " "))
    plain = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", plain)  # within a word it is itself
    return re.sub(r"^#|(?<=])\(", r"\\\g<0>", plain)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _listed(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {cell(line)}" for line in lines) if lines else ""


def _pairs(title: str, pairs: Pairs) -> str:
    return _listed(title, [f"{key}: {value}" for key, value in pairs])
