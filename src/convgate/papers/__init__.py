"""The papers' printed tables: what was reported, and what is built and counted here."""

from convgate.papers.build import build_row
from convgate.papers.count import COUNTERS, PaperCount, count_by
from convgate.papers.report import PaperTableResult
from convgate.papers.result import PaperCell, PaperRowResult, TrainedScore
from convgate.papers.run import run_table
from convgate.papers.table import PaperBuild, PaperRow, PaperTable, list_tables, load_table
from convgate.papers.text import render
from convgate.papers.trained import with_results

__all__ = [
    "COUNTERS", "PaperBuild", "PaperCell", "PaperCount", "PaperRow", "PaperRowResult", "PaperTable",
    "PaperTableResult", "TrainedScore", "build_row", "count_by", "list_tables", "load_table",
    "render", "run_table", "with_results",
]  # fmt: skip
