"""Cells and rows of a printed table: reported beside ours, and how far they agree."""

from dataclasses import dataclass

from convgate.measure import LatencyRow
from convgate.studies.tables import spread
from convgate.tables import Readable


@dataclass(frozen=True)
class TrainedScore(Readable):
    """A number of networks that were trained here by one recipe."""

    mean: float  # over the runs, in the cell's unit
    std: float | None  # their standard deviation (n - 1); None for a single run
    runs: int  # how many
    seeds: tuple[int, ...]  # theirs
    on: str  # what was trained, in few words: data, images, epochs
    same_recipe: bool  # whether the recipe is the table's

    def spread(self, digits: int) -> str:
        return spread(self.mean, self.std, digits)


@dataclass(frozen=True)
class PaperCell(Readable):
    column: str  # its column
    unit: str  # its unit
    reported: str  # the printed digits
    ours: str = ""  # what is found here; empty for what has to be trained or timed
    matches: bool | None = None  # whether ours gives the printed digits; None: there is no ours
    reason: str = ""  # why it does not, where that is known
    trained: tuple[TrainedScore, ...] = ()  # one entry a recipe, the table's own first


@dataclass(frozen=True)
class PaperRowResult(Readable):
    name: str  # what `--rows` selects by
    label: str  # what the table calls it
    base: str  # the row that latencies are compared with
    cells: tuple[PaperCell, ...]  # the reported cells in the table's order
    counter: str = ""  # how params and flops were counted; empty where they were not
    all_params: int | None = None  # numbers in all parameters, whatever the counter sees
    note: str = ""  # remarks on the printed row, and on what could not be built
    command: str = ""  # what trains it
    latency: LatencyRow | None = None  # ours, if asked for
    reported_ratio: float | None = None  # the paper's latency over that of the base's row

    def cell(self, column: str) -> PaperCell | None:
        return next((cell for cell in self.cells if cell.column == column), None)

    @property
    def is_trained(self) -> bool:
        return any(cell.trained for cell in self.cells)

    @property
    def verdict(self) -> str:
        """Say whether all judged cells match: "yes", "partly", "no"; nothing where none is."""
        judged = [cell.matches for cell in self.cells if cell.matches is not None]
        if not judged:
            return ""
        return "yes" if all(judged) else "partly" if any(judged) else "no"
