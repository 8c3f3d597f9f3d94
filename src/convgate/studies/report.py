"""A study's report: the page, the Markdown, the figures and the tables."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from convgate.charts import DARK_CSS, chart_script, chart_spec, write_chart
from convgate.pages import page_template
from convgate.storage import write_text
from convgate.studies.figures import StudyFigure, figures_of
from convgate.studies.provenance import (
    Pairs,
    data_pairs,
    failures,
    latency_pairs,
    machine_pairs,
    notes,
)
from convgate.studies.result import StudyResult, run_table, write_tables
from convgate.studies.tables import run_cells, variant_table
from convgate.tables import Table

FRONT = "Rows in bold lie on the Pareto front: nothing is both faster and more accurate."


def write_report(result: StudyResult, stamp: int) -> None:
    """Write report.html, report.md, the figures, results.csv and summary.json.

    The figures are accuracy_latency, difference, latency_ratio, curves, loss, and one named after
    each option that is swept; each as SVG and PNG.

    Args:
        result: The study.
        stamp: What the report covers; the last file written carries it.
    """
    figures = figures_of(result)
    for figure in figures:
        files = [result.out / f"{figure.stem}.{kind}" for kind in ("svg", "png")]
        write_chart(figure.chart, *files, force=True)
    write_text(result.out / "report.md", render_markdown(result, figures))
    write_text(result.out / "report.html", render_page(result, figures))
    write_tables(result, stamp)


def render_page(
    result: StudyResult, figures: Sequence[StudyFigure], *, title: str = "", answer: str = ""
) -> str:
    """Return the report as a page; ``title`` and ``answer`` take the place of the study's own."""
    return page_template("convgate.studies", "report.html.jinja").render(
        title=title or study_title(result),
        answer=answer or result.answer,
        variants=variant_table(result.rows, result.budget),
        bold=_front(result),
        hint=FRONT,
        figures=[(figure, _responsive(figure)) for figure in figures],
        lists=_lists(result),
        pairs=_pairs(result),
        runs=_runs(result),
        dark_css=Markup(DARK_CSS),
        script=Markup(chart_script()),
    )


def render_markdown(
    result: StudyResult, figures: Sequence[StudyFigure], *, title: str = "", answer: str = ""
) -> str:
    """Return the report as Markdown; its first line is the answer."""
    parts = [
        cell(answer or result.answer),
        f"# {cell(title or study_title(result))}",
        table(variant_table(result.rows, result.budget), _front(result)),
        *(f"![{cell(figure.title)}]({figure.stem}.svg)" for figure in figures),
        FRONT,
        *(_listed(title, lines) for title, lines in _lists(result).items()),
        *(
            _listed(title, [f"{key}: {value}" for key, value in pairs])
            for title, pairs in _pairs(result).items()
        ),
        f"## Runs\n\n{table(_runs(result))}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def study_title(result: StudyResult, kind: str = "Study of") -> str:
    backbone = dict(data_pairs(result))["backbone"]
    return f"{kind} {backbone} on {result.recipe.data.name}"


def _lists(result: StudyResult) -> Mapping[str, Sequence[str]]:
    return {"Runs without a value": failures(result), "How to read it": notes(result)}


def _pairs(result: StudyResult) -> Mapping[str, Pairs]:
    return {
        "Data and training": data_pairs(result),
        "Latency": latency_pairs(result),
        "Environment": machine_pairs(result),
    }


def _responsive(figure: StudyFigure) -> dict[str, Any]:
    """Return a figure's specification as wide as the page allows, on the page's own ground."""
    return chart_spec(figure.chart) | {
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": "transparent",
    }


def _front(result: StudyResult) -> list[int]:
    return [i for i, row in enumerate(result.rows) if row.on_front]


def _runs(result: StudyResult) -> Table:
    labels = {row.variant: row.label for row in result.rows}
    named = [labels[record.cell.variant] for record in result.records]
    return run_cells(run_table(result), named)


def table(content: Table, bold: Collection[int] = ()) -> str:
    """Return a Markdown table; the rows with these numbers have a bold name."""
    head = [cell(title) for title in content.head]
    lines = [_row(head), _row(["---", *["---:"] * (len(content.head) - 1)])]
    for i, row in enumerate(content.rows):
        cells = [cell(value) for value in row]
        if i in bold:
            cells[0] = f"**{cells[0]}**"
        lines.append(_row(cells))
    return "\n".join(lines)


def cell(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    plain = re.sub(r"([\\`*|<>])", r"\\\1", text.replace("\n", " "))
    plain = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", plain)  # within a word it is itself
    return re.sub(r"^#|(?<=])\(", r"\\\g<0>", plain)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _listed(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {cell(line)}" for line in lines) if lines else ""
