"""The lines of a study's pictures, for the page and for the files alike."""

from dataclasses import dataclass, replace

from convgate.charts import COLOURS
from convgate.studies.grid import Variant
from convgate.studies.points import colours, top1_ends
from convgate.studies.result import StudyResult
from convgate.studies.summary import Row


@dataclass(frozen=True)
class Curve:
    """One variant's number over the epochs: mean over the seeds, and their range.

    Args:
        label: The variant.
        group: What it is compared in.
        colour: Of its line.
        epochs: 1, 2, ...
        mean: One value an epoch.
        low: The least of the seeds.
        high: The greatest.
        seeds: How many there are.
    """

    label: str
    group: str
    colour: str
    epochs: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


@dataclass(frozen=True)
class Sweep:
    """Accuracy over the values of one option, for one gate of one backbone.

    Args:
        label: What is swept: the gate, and the site where there are several.
        group: What it is compared in.
        colour: Of its line.
        values: The option's values as text, in order.
        mean: Percent, one for each value.
        ends: The interval of each: that of the paired difference to the base, around the mean.
        base: Mean accuracy of what it is compared with; None where that has none.
    """

    label: str
    group: str
    colour: str
    values: tuple[str, ...]
    mean: tuple[float, ...]
    ends: tuple[tuple[float, float], ...]
    base: float | None


def curves_of(result: StudyResult, key: str) -> list[Curve]:
    """Return a line for each variant that has epochs.

    Args:
        result: The study.
        key: Field of an epoch, such as "top1".
    """
    dressed = zip(result.rows, colours(result.rows), strict=True)
    return [_curve(row, key, colour) for row, colour in dressed if any(row.curves.values())]


def sweeps_of(result: StudyResult) -> dict[str, list[Sweep]]:
    """Return the lines of each option that the study sweeps, by the option's name."""
    lines: dict[tuple[str, Variant], list[Row]] = {}
    for row in result.rows:
        if row.variant.setting and row.mean is not None:
            option = row.variant.setting.partition("=")[0]
            lines.setdefault((option, replace(row.variant, setting="")), []).append(row)
    bases = {row.variant.group: row.mean for row in result.rows if row.variant.is_base}
    found: dict[str, list[Sweep]] = {}
    for place, ((option, variant), rows) in enumerate(lines.items()):
        rows.sort(key=_magnitude)
        sweep = Sweep(
            variant.label,
            variant.group,
            COLOURS[place % len(COLOURS)],
            tuple(_value(row) for row in rows),
            tuple(row.mean for row in rows if row.mean is not None),
            tuple(top1_ends(row) for row in rows),
            bases.get(variant.group),
        )
        found.setdefault(option, []).append(sweep)
    return found


def _curve(row: Row, key: str, colour: str) -> Curve:
    runs = [epochs for epochs in row.curves.values() if epochs]
    longest = max(runs, key=len)
    columns = [[run[i][key] for run in runs if i < len(run)] for i in range(len(longest))]
    return Curve(
        row.label,
        row.variant.group,
        colour,
        tuple(epoch["epoch"] for epoch in longest),
        tuple(sum(column) / len(column) for column in columns),
        tuple(map(min, columns)),
        tuple(map(max, columns)),
        len(runs),
    )


def _value(row: Row) -> str:
    return row.variant.setting.partition("=")[2]


def _magnitude(row: Row) -> float:
    """Order numbers by size, and leave words in the order in which they were given."""
    try:
        return float(_value(row))
    except ValueError:
        return 0.0
