"""The page about the papers' tables, from the tables' own data; the README's tables as printed."""

import re
from collections.abc import Iterator
from pathlib import Path

from gate_pages import table

from convgate.papers import COUNTERS, PaperRow, PaperTable, list_tables, load_table
from convgate.papers.count import PROPERTIES
from convgate.papers.run import counter_of, note_of
from convgate.papers.table import COUNTED
from convgate.studies.report import cell

HEAD = """# The papers' tables, one by one

What comes out here, what does not, and why. `convgate table NAME` prints each table beside what is
built and counted now; this page is made from the same data, and a test holds that every count it
calls reproduced comes out to the printed digits and that every other has its reason.

- **Parameters and FLOPs** are counted from the built networks, by the counter that the paper used.
- **Accuracy** is as reported: no table was trained here by its paper's recipe, which for ImageNet
  takes weeks of GPU time. The recipe is named, and `convgate table NAME --rows ROW` prints the
  command of a row; once a run or a study is there, `--results FOLDER` puts its mean and deviation
  beside the printed number, and says what was trained.
- **Latency** was measured by the papers on hardware of their own. `--latency` gives the ratio to
  the table's base row on yours, paired round by round, beside that of the printed numbers.
- **Feature distance** is that of trained networks: `--results RUN --images DATA` measures it;
  random weights never stand in for them.

`convgate table selnext.2 --plot docs/figures/selnext_table2.svg` draws what SELN's Figure 5 shows:
reported accuracy over parameters and FLOPs counted here, and over reported latency; with
`--latency`, over the latency here.

![Accuracy over parameters, FLOPs and latency](figures/selnext_table2.svg)

## Overview"""
OURS = {
    "params": "parameters",
    "weights": "size of the weights",
    "flops": "FLOPs",
    "no_channel_reduction": "no reduction",
    "long_range": "long range",
}
LEARNED = {"accuracy": "top", "average precision": ("ap", "map"), "mean IoU": "miou"}
REPORTED = {"latency": "latency", "fps": "images a second", "distance": "feature distance"}


def paper_pages(docs: Path) -> dict[str, str]:
    """Return the page about the tables, and the README with its tables, by path under docs."""
    names = list_tables()
    rows = [overview(name, load_table(name)) for name in names]
    counters = [[f"`{name}`", meaning] for name, meaning in COUNTERS.items()]
    parts = [
        HEAD,
        table(["table", "about", "rows", "cells that come out", "trained by"], rows),
        "The counters:",
        table(["counter", "counts"], counters),
        *(part for name in names for part in described(name, load_table(name))),
    ]
    pages = {"papers.md": "\n\n".join(parts) + "\n"}
    readme = docs.parent / "README.md"
    return pages | ({"../README.md": with_tables(readme, docs)} if readme.is_file() else {})


def overview(name: str, paper: PaperTable) -> list[str]:
    """Return the line of one table."""
    judged, differing = list(judged_cells(paper)), list(differing_cells(paper))
    none = "none is printed" if any(row.build for row in paper.row) else "not built"
    share = f"{len(judged) - len(differing)} of {len(judged)}" if judged else none
    recipes = ", ".join(f"`{recipe}`" for recipe in recipes_of(paper))
    return [
        f"[{name}](#{anchor(name)})",
        cell(paper.caption),
        str(len(paper.row)),
        share,
        recipes,
    ]


def described(name: str, paper: PaperTable) -> Iterator[str]:
    """Yield the section of one table."""
    yield f"## {name}"
    yield f"{cell(paper.caption)}. Source: {cell(paper.source)}."
    judged, differing = list(judged_cells(paper)), list(differing_cells(paper))
    if judged:
        kinds = ", ".join(OURS.get(c, c) for c in dict.fromkeys(column for _, column in judged))
        counters = dict.fromkeys(
            counter_of(paper, row) for row, column in judged if column in COUNTED
        )
        by = f", counted as `{'`, `'.join(counters)}`" if counters else ", found out from the gate"
        come_out = len(judged) - len(differing)
        yield f"**Reproduced**: {come_out} of {len(judged)} printed cells ({kinds}{by})."
    elif any(row.build for row in paper.row):
        yield "**Reproduced**: no count is printed; every row builds, and trains by its command."
    else:
        yield "**Reproduced**: nothing; its networks are not built; all numbers are as reported."
    rest = [words for column, words in REPORTED.items() if column in paper.units]
    kinds = [k for k, start in LEARNED.items() if any(c.startswith(start) for c in paper.units)]
    rest = [*kinds, *rest]
    if rest and any(row.build for row in paper.row):
        yield f"**As reported**: {', '.join(rest)}."
    if differing:
        lines = [
            f"- {cell(row.label)}, {OURS.get(column, column)}, printed {row.reported[column]}: "
            f"{cell(reason)}"
            for row, column, reason in differing
        ]
        yield "**Does not come out**:\n\n" + "\n".join(lines)
    notes = [note] if (note := note_of(paper)) else []
    notes += [f"{row.label}: {row.note}" for row in paper.row if row.note]
    if notes:
        yield "**Remarks**:\n\n" + "\n".join(f"- {cell(note)}" for note in notes)


def judged_cells(paper: PaperTable) -> Iterator[tuple[PaperRow, str]]:
    """Yield the printed cells that are found out here, by row and column."""
    for row in paper.row:
        if row.build is not None:
            columns = COUNTED if row.build.model else PROPERTIES
            yield from ((row, column) for column in columns if column in row.reported)


def differing_cells(paper: PaperTable) -> Iterator[tuple[PaperRow, str, str]]:
    """Yield the cells that do not come out: row, column and reason."""
    for row, column in judged_cells(paper):
        if column in row.differs:
            yield row, column, row.differs[column]


def recipes_of(paper: PaperTable) -> list[str]:
    """Return the recipes that train the rows."""
    built = [row for row in paper.row if row.build and row.build.model]
    named = [paper.recipe if row.recipe is None else row.recipe for row in built]
    return [recipe for recipe in dict.fromkeys(named) if recipe]


def anchor(title: str) -> str:
    """Return the link of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def with_tables(readme: Path, docs: Path) -> str:
    """Return the README with the tables between its marks as the files under results have them."""

    def printed(mark: re.Match[str]) -> str:
        result = docs / "results" / mark["file"]
        lines = result.read_text().splitlines()
        shown = [line for line in lines if line.startswith("|")]
        measured = [line for line in lines if line.startswith(("- latency:", "- warning:"))]
        return "\n".join([mark["start"], "", *shown, "", *measured, "", mark["end"]])

    pattern = r"(?P<start><!-- table (?P<file>\w+\.md) -->).*?(?P<end><!-- end -->)"
    return re.sub(pattern, printed, readme.read_text(), flags=re.S)
