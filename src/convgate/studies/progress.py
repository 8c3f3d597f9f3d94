"""What a study says while it works: one line a cell, on standard error."""

from collections.abc import Sequence

from rich.console import Console

from convgate.studies.grid import Cell
from convgate.studies.notation import duration
from convgate.studies.trial_records import Record


class Voice:
    """Speaks plain lines; silent for progress=False.

    Args:
        progress: False for silence; None or True for lines.
    """

    def __init__(self, progress: bool | None = None) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=progress is False)
        self.bar = progress is not False and self.console.is_terminal
        self._waits = False

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def settled(self, cell: Cell, records: Sequence[Record]) -> None:
        """Say what a cell came to, and how long the rest will take."""
        self._waits = False
        mine = next(record for record in records if record.cell == cell)
        count = f"[{sum(r.settled for r in records)}/{len(records)}]"
        if mine.top1 is None:
            self.say(f"{count} {cell}: failed: {mine.note}")
        else:
            seconds = duration(mine.outcome["seconds"])
            self.say(f"{count} {cell}: {mine.top1:.2f} % in {seconds}{remaining(records)}")

    def wait(self, records: Sequence[Record]) -> None:
        """Say once that other processes train what is left."""
        if not self._waits:
            running = sum(record.state == "running" for record in records)
            what = "cell that another process trains" if running == 1 else "cells of others"
            self.say(f"waiting for {running} {what}")
        self._waits = True


def remaining(records: Sequence[Record]) -> str:
    """Return ", about 12 min left": mean time of a cell x cells left / processes at work."""
    times = [r.outcome["seconds"] for r in records if r.top1 is not None]
    left = sum(not record.settled for record in records)
    if not left or not times:
        return ""
    workers = 1 + sum(record.state == "running" for record in records)
    return f", about {duration(left * sum(times) / len(times) / workers)} left"
