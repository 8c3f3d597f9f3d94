"""What a search leaves: the recipe that it chose, the page, and the numbers."""

import json
from dataclasses import replace

from convgate import spec
from convgate.charts import write_chart
from convgate.searches.drawings import draw_network, draw_proposals, draw_singles
from convgate.searches.result import SearchResult
from convgate.searches.space import Combination
from convgate.storage import write_csv, write_text
from convgate.studies.figures import StudyFigure, figures_of
from convgate.studies.report import render_markdown, render_page, study_title

BEST, SUMMARY = "best.toml", "summary.json"


def write_search(result: SearchResult) -> None:
    """Write report.html, report.md, its figures, proposals.csv, summary.json and best.toml."""
    figures = search_figures(result)
    for figure in figures:
        files = [result.out / f"{figure.stem}.{kind}" for kind in ("svg", "png")]
        write_chart(figure.chart, *files, force=True)
    told = {"answer": result.answer, "title": study_title(result.study, "Search for gates in")}
    write_text(result.out / "report.md", render_markdown(result.study, figures, **told))
    write_text(result.out / "report.html", render_page(result.study, figures, **told))
    write_csv(result.out / "proposals.csv", result.proposal_rows())
    write_text(result.out / BEST, best_text(result))
    text = json.dumps(result.to_dict(), indent=1, default=str)
    write_text(result.out / SUMMARY, text + "\n")


def best_text(result: SearchResult) -> str:
    """Return the chosen recipe as TOML, which says first what it is worth."""
    recipe = replace(result.recipe, note={}, study=None)
    said = [f"# {line}" for line in result.answer.splitlines()]
    return "\n".join([*said, spec.dump(recipe)])


def search_figures(result: SearchResult) -> list[StudyFigure]:
    """Return the network first, then the study's figures, then what led to the finalists."""
    finalists = result.finalists
    rows: dict[str, Combination] = {result.space.label(c): c for c in finalists}
    best = result.space.label(result.best)
    drawn = {f"{name} (chosen)" if name == best else name: c for name, c in rows.items()}
    return [
        StudyFigure(
            "network", "The network and its gates", NETWORK, draw_network(result.space, drawn)
        ),
        *figures_of(result.study),
        StudyFigure(
            "singles", "Latency of each gate alone", result.latency.describe(),
            draw_singles(result.latency),
        ),
        StudyFigure(
            "proposals", "What the search looked at", PROPOSALS,
            draw_proposals(result.space, result.proposals, finalists),
        ),
    ]  # fmt: skip


NETWORK = (
    "One line for each network that was trained in full, from its input on the left to its output;"
    " a box is a stage, with how many gates it takes and the channels of the first."
)
PROPOSALS = (
    "Losses are of paths of one network, on training pictures held out for the search: they rank,"
    " and say nothing of the accuracy to expect. Filled points were trained in full."
)
