"""The papers' printed tables: what was reported, and what is built and counted here."""

from convgate.papers.build import build_row
from convgate.papers.count import COUNTERS, Count, count
from convgate.papers.result import Cell, RowResult, TableResult, Trained
from convgate.papers.run import run_table
from convgate.papers.table import Build, PaperTable, Row, list_tables, load_table
from convgate.papers.text import render
from convgate.papers.trained import with_results

__all__ = [
    "COUNTERS",
    "Build",
    "Cell",
    "Count",
    "PaperTable",
    "Row",
    "RowResult",
    "TableResult",
    "Trained",
    "build_row",
    "count",
    "list_tables",
    "load_table",
    "render",
    "run_table",
    "with_results",
]
