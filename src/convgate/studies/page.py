"""The report as one HTML file that needs no network."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

from plotly.offline import get_plotlyjs

from convgate.studies.charts import accuracy_latency
from convgate.studies.line_charts import curves, option
from convgate.studies.points import names
from convgate.studies.provenance import (
    Pairs,
    data_pairs,
    failures,
    latency_pairs,
    machine_pairs,
    notes,
)
from convgate.studies.result import StudyResult
from convgate.studies.series import sweeps_of
from convgate.studies.style import STYLE
from convgate.studies.tables import Table, run_cells, variant_table


def render_page(result: StudyResult) -> str:
    """Return the page: the answer, the table, the pictures, and what they rest on."""
    told = dict(data_pairs(result))
    title = f"Study of {told['backbone']} on {result.recipe.data.name}"
    body = [
        f"<p class=answer>{escape(result.answer)}</p>",
        f"<h1>{escape(title)}</h1>",
        f"<div class=variants>{table(_numbered(variant_table(result), result))}</div>",
        "<p class=hint>Rows in bold lie on the Pareto front: nothing is both faster and more"
        " accurate.</p>",
        _listed("Runs without a value", failures(result)),
        _chart("Accuracy and latency", accuracy_latency(result), HINT),
        *(
            _chart(f"Accuracy over {name}", option(name, sweeps), VALUES)
            for name, sweeps in sweeps_of(result).items()
        ),
        _chart("Validation accuracy while training", curves(result, "top1", "top-1, %"), BAND),
        _chart("Training loss", curves(result, "train_loss", "loss"), BAND),
        _listed("How to read it", notes(result)),
        _pairs("Data and training", data_pairs(result)),
        _pairs("Latency", latency_pairs(result)),
        _pairs("Environment", machine_pairs(result)),
        f"<h2>Runs</h2>{table(run_cells(result))}",
    ]
    return PAGE.format(
        title=escape(title), style=STYLE, plotly=get_plotlyjs(), body="\n".join(filter(None, body))
    )


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
<script>{plotly}</script>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

HINT = (
    "Bars are the 95 % intervals of the paired comparison with the base. Filled points lie on the"
    " Pareto front (dashed). The dotted line is the latency budget."
)
VALUES = "Bars are the 95 % intervals of the paired difference to the base."
BAND = "Lines are means over the seeds, bands their range."


def table(content: Table) -> str:
    """Return an HTML table whose marked rows are bold; a second line of a cell is its interval."""
    head = "".join(f"<th>{escape(title)}</th>" for title in content.head)
    rows = [_row(row, i in content.marked) for i, row in enumerate(content.body)]
    return (
        f"<div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _numbered(content: Table, result: StudyResult) -> Table:
    """Number the rows where the picture names its points by number."""
    rows = zip(content.body, names(result.rows), strict=True)
    body = [(f"{n}. {row[0]}" if n.isdigit() else row[0], *row[1:]) for row, n in rows]
    return replace(content, body=tuple(body))


def _row(cells: Sequence[str], marked: bool) -> str:
    name, *rest = (escape(cell).replace("\n", "<br><small>", 1) for cell in cells)
    inner = "".join(f"<td>{cell}</td>" for cell in rest)
    return f"<tr{' class=front' if marked else ''}><th>{name}</th>{inner}</tr>"


def _chart(title: str, figure: Any, hint: str) -> str:
    if figure is None:
        return ""
    drawn = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True, "showTips": False},
    )
    return f"<h2>{escape(title)}</h2><p class=hint>{escape(hint)}</p>{drawn}"


def _listed(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>"


def _pairs(title: str, pairs: Pairs) -> str:
    if not pairs:
        return ""
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in pairs)
    return f"<h2>{escape(title)}</h2><dl>{items}</dl>"
