"""Cells and rows of a printed table: reported beside ours, and how far they agree."""

from dataclasses import dataclass

from convgate.measure import LatencyRow
from convgate.tables import Readable


@dataclass(frozen=True)
class TrainedScore(Readable):
    """A number of networks that were trained here by one recipe.

    Attributes:
        mean: Over the runs, in the cell's unit.
        std: Their standard deviation (n - 1); None for a single run.
        runs: How many.
        seeds: Theirs.
        on: What was trained, in few words: data, images, epochs.
        same_recipe: Whether the recipe is the table's.
    """

    mean: float
    std: float | None
    runs: int
    seeds: tuple[int, ...]
    on: str
    same_recipe: bool

    def spread(self, digits: int) -> str:
        """Return mean and deviation, as in "71.30 ± 0.42"."""
        deviation = "" if self.std is None else f" ± {self.std:.{digits}f}"
        return f"{self.mean:.{digits}f}{deviation}"


@dataclass(frozen=True)
class PaperCell(Readable):
    """One cell.

    Attributes:
        column: Its column.
        unit: Its unit.
        reported: The printed digits.
        ours: What is found here; empty for what has to be trained or timed.
        matches: Whether ours gives the printed digits; None where there is no ours.
        reason: Why it does not, where that is known.
        trained: What was trained here, one entry a recipe and the table's own first.
    """

    column: str
    unit: str
    reported: str
    ours: str = ""
    matches: bool | None = None
    reason: str = ""
    trained: tuple[TrainedScore, ...] = ()


@dataclass(frozen=True)
class PaperRowResult(Readable):
    """One row.

    Attributes:
        name: What `--rows` selects by.
        label: What the table calls it.
        base: The row that latencies are compared with.
        cells: The reported cells in the table's order.
        counter: How params and flops were counted; empty where they were not.
        all_params: Numbers in all parameters, whatever the counter sees.
        note: Remarks on the printed row, and on what could not be built.
        command: What trains it.
        latency: Ours, if asked for.
        reported_ratio: The paper's latency over that of the base's row.
    """

    name: str
    label: str
    base: str
    cells: tuple[PaperCell, ...]
    counter: str = ""
    all_params: int | None = None
    note: str = ""
    command: str = ""
    latency: LatencyRow | None = None
    reported_ratio: float | None = None

    def cell(self, column: str) -> PaperCell | None:
        """Return the cell of a column; None where the paper has none."""
        return next((cell for cell in self.cells if cell.column == column), None)

    @property
    def is_trained(self) -> bool:
        """Tell whether any cell has a number of a network that was trained here."""
        return any(cell.trained for cell in self.cells)

    @property
    def verdict(self) -> str:
        """Say whether all judged cells match: "yes", "partly", "no"; nothing where none is."""
        judged = [cell.matches for cell in self.cells if cell.matches is not None]
        if not judged:
            return ""
        return "yes" if all(judged) else "partly" if any(judged) else "no"
