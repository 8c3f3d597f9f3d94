"""The printed tables: what was reported, cell by cell, apart from it how each row is built."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from convgate import spec
from convgate.errors import InputError, unknown
from convgate.networks.specs import DetectorSpec, GateSpec
from convgate.papers.count import COUNTERS
from convgate.tasks.segment import SEGMENTERS

FOLDER = Path(__file__).parent / "tables"
COUNTED = ("params", "weights", "flops")
DISTANCE = "distance"
"""The column of the mean feature distance, which is one of trained networks."""
Sides = int | tuple[int, int]
"""Of an image in pixels: a square's, or height and width."""
SCALES = {"G": 10**9, "M": 10**6, "MiB": 2**20}
UNPRINTED = "0.0"
"""As many digits as a cell has that the paper does not print."""


@dataclass(frozen=True, kw_only=True)
class PaperBuild:
    """How to build what a row names."""

    model: str = ""  # a name that `create_model` knows; empty where the row is about a gate alone
    num_classes: int | None = None  # width of the head, or classes of objects; None: the table's
    image_px: Sides | None = None  # of the image; None takes the table's
    options: dict[str, object] = field(default_factory=dict)  # the model's options
    detector: DetectorSpec | None = None  # a detector or a segmenter on the model
    gate: GateSpec | None = None  # and where; "none" with `replaces` takes the model's own away
    tied_stem: bool = False  # the stem's gate is the first stage's first gate, weights and all

    @property
    def task(self) -> str:
        """What the network does, as a recipe's [task] says it."""
        if self.detector is None:
            return "classify"
        return "segment" if self.detector.name in SEGMENTERS else "detect"


@dataclass(frozen=True, kw_only=True, eq=False)
class PaperRow:
    """One line of a printed table."""

    name: str  # what `--rows` selects by
    label: str  # what the table calls it; `--rows` takes it, too
    reported: dict[str, str]  # column to cell, as printed; a dash or nothing is left out
    base: str = ""  # the row that its latency is compared with; empty for a base
    build: PaperBuild | None = None  # its configuration; None where only the numbers are known
    counter: str = ""  # one of `COUNTERS`; empty takes the table's
    units: dict[str, str] = field(default_factory=dict)  # where a unit is not the table's
    truncated: tuple[str, ...] = ()  # columns whose last digit is cut and not rounded
    # column to the known reason why what is built does not give the printed number
    differs: dict[str, str] = field(default_factory=dict)
    recipe: str | None = None  # what trains it; None: the table's, empty: nothing here does
    settings: tuple[str, ...] = ()  # what to change in the recipe, as in "run.drop_path=0.4"
    note: str = ""  # a remark on the printed row
    family: str = ""  # networks of several sizes, which a picture joins by a line
    size: str = ""  # which of them, in a letter


@dataclass(frozen=True, kw_only=True, eq=False)
class PaperTable:
    """One printed table."""

    caption: str  # what it is about
    source: str  # paper and table
    # columns in order, each with its unit; a row may have another. A count that no row reports is
    # one that the paper does not print
    units: dict[str, str]
    row: tuple[PaperRow, ...]  # the rows in order
    counter: str = ""  # one of `COUNTERS`, for params and flops; empty where there are none
    num_classes: int = 1000  # of every row that does not say otherwise
    image_px: Sides = 224  # the same
    # column to the score of a run of detection or segmentation that belongs in it
    scores: dict[str, str] = field(default_factory=dict)
    recipe: str = ""  # what trains its rows
    protocol: str = ""  # the published way of timing, where the paper names one
    note: str = ""  # a remark on the table

    def __post_init__(self) -> None:
        names = [row.name for row in self.row]
        for row in self.row:
            if names.count(row.name) > 1:
                raise InputError(f"row {row.name!r} is there twice; give it another name")
            _check("base", row, [row.base] if row.base else [], names)
            _check("column", row, [*row.reported, *row.units, *row.truncated], self.units)
            _check("column", row, row.differs, row.reported)
            _check("score", row, self.scores, self.units)
            _check("counter", row, filter(None, [row.counter, self.counter]), COUNTERS)

    def select(self, pattern: str = "*") -> tuple[PaperRow, ...]:
        """Return the rows whose names, or labels as they are printed, match a shell pattern."""
        chosen = tuple(
            row
            for row in self.row
            if fnmatchcase(row.name, pattern) or fnmatchcase(row.label, pattern)
        )
        if not chosen:
            names = [row.name for row in self.row]
            if any(sign in pattern for sign in "*?["):
                raise InputError(
                    f"no row matches {pattern!r}; the rows are {', '.join(names[:8])}"
                    f"{', ...' if len(names) > 8 else ''}"
                )
            raise unknown("row", pattern, names)
        return chosen

    def find(self, name: str) -> PaperRow:
        return next(row for row in self.row if row.name == name)

    def image_px_of(self, row: PaperRow) -> tuple[int, int]:
        px = (row.build.image_px if row.build else None) or self.image_px
        return (px, px) if isinstance(px, int) else px

    def unprinted(self) -> tuple[str, ...]:
        columns = [c for c in self.units if c in COUNTED]
        return tuple(c for c in columns if not any(c in row.reported for row in self.row))

    def unit(self, row: PaperRow, column: str) -> str:
        return row.units.get(column, self.units[column])


def list_tables() -> list[str]:
    files = FOLDER.glob("*/table*.toml")
    return sorted(f"{f.parent.name}.{f.stem.removeprefix('table')}" for f in files)


@cache
def load_table(name: str) -> PaperTable:
    """Read a table by its name."""
    if name not in list_tables():
        raise unknown("table", name, list_tables())
    paper, _, number = name.partition(".")
    path = FOLDER / paper / f"table{number}.toml"
    return spec.load(PaperTable, path, name=f"{paper}/table{number}.toml")


def shown(number: int, reported: str, unit: str) -> str:
    """Return a count in the printed unit, with two digits more than were printed, four at most."""
    last = Decimal(1).scaleb(max(_exponent(reported) - 2, -4))
    return str((Decimal(number) / SCALES[unit]).quantize(last, ROUND_HALF_UP))


def agrees(number: int, reported: str, unit: str, *, truncated: bool = False) -> bool:
    """Tell whether a count gives the printed digits."""
    rounding = ROUND_DOWN if truncated else ROUND_HALF_UP
    last = Decimal(1).scaleb(_exponent(reported))
    return (Decimal(number) / SCALES[unit]).quantize(last, rounding) == Decimal(reported)


def as_number(text: str) -> float | None:
    """Return a printed cell as a number; None for words."""
    try:
        return float(Decimal(text))
    except InvalidOperation:
        return None


def _check(kind: str, row: PaperRow, words: Iterable[str], known: Collection[str]) -> None:
    for word in words:
        if word not in known:
            raise unknown(f"{kind} of row {row.name!r}:", word, known)


def _exponent(text: str) -> int:
    exponent = Decimal(text).as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
