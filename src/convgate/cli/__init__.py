"""The command line: one verb, one file; importing a verb enters it."""

from convgate.cli import ls, measure, insert, train, eval, study, papers, view  # noqa: F401, I001  help's order
from convgate.cli.main import app, main

__all__ = ["app", "main"]
