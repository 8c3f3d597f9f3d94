"""The command line: one verb, one file; importing a verb enters it."""

# help's order
from convgate.cli import ls, measure, insert, recipe, train, eval  # noqa: F401, I001
from convgate.cli import study, search, table, view, export, predict  # noqa: F401
from convgate.cli import app as _  # noqa: F401  the verb; the name is that of all verbs
from convgate.cli.main import app, main

__all__ = ["app", "main"]
