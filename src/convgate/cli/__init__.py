"""The command line: one verb, one file."""

from convgate.cli.main import app, main

__all__ = ["app", "main"]
