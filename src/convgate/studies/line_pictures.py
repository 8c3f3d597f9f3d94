"""The line pictures as files: training curves, and accuracy over an option."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convgate.charts import spread_out
from convgate.studies.canvas import GREY, NAME_INCHES, canvas, name_at_right, save
from convgate.studies.grid import unique
from convgate.studies.points import percent_limits
from convgate.studies.result import StudyResult
from convgate.studies.series import Curve, Sweep, curves_of, sweeps_of
from convgate.view.figure import plain

STEM = "curves"
RIM_INCHES = 1.2
"""Height of what is around a picture: its title, the ticks and their name."""


def write_curves(result: StudyResult) -> list[str]:
    """Write curves.svg and .png; return their names, none where nothing has epochs."""
    found = curves_of(result, "top1")
    return save(draw_curves(found), result.out, STEM) if found else []


def draw_curves(found: Sequence[Curve]) -> Figure:
    """Draw top-1 over the epochs, one picture for each base, names at the right."""
    groups = unique([curve.group for curve in found])
    members = [[curve for curve in found if curve.group == group] for group in groups]
    heights = [max(4.2, NAME_INCHES * len(curves) + RIM_INCHES) for curves in members]
    figure, pictures = canvas(heights)
    for axes, curves, height, group in zip(pictures, members, heights, groups, strict=True):
        _draw_curves(axes, curves, NAME_INCHES / (height - RIM_INCHES))
        axes.set_title(plain(group) if len(groups) > 1 else "")
    pictures[-1].set_xlabel("epoch")
    return figure


def write_sweeps(result: StudyResult) -> list[str]:
    """Write OPTION.svg and .png for each option that the study sweeps; return their names."""
    names = []
    for option, sweeps in sweeps_of(result).items():
        groups = unique([sweep.group for sweep in sweeps])
        figure, pictures = canvas([4.2] * len(groups))
        for axes, group in zip(pictures, groups, strict=True):
            _draw_sweeps(axes, [sweep for sweep in sweeps if sweep.group == group])
            axes.set_title(plain(group) if len(groups) > 1 else "")
        pictures[-1].set_xlabel(plain(option))
        names += save(figure, result.out, option)
    return names


def _draw_curves(axes: Axes, curves: Sequence[Curve], name_share: float) -> None:
    limits = percent_limits([end for curve in curves for end in (*curve.low, *curve.high)])
    places = _names_y([curve.mean[-1] for curve in curves], limits, name_share)
    for curve, name_y in zip(curves, places, strict=True):
        axes.plot(curve.epochs, curve.mean, color=curve.colour, lw=1.8)
        if curve.seeds > 1:
            axes.fill_between(
                curve.epochs, curve.low, curve.high, color=curve.colour, alpha=0.08, lw=0
            )
        end = (curve.epochs[-1], curve.mean[-1])
        name_at_right(axes, curve.label, end, name_y, curve.colour)
    axes.locator_params("x", integer=True)
    last = max(curve.epochs[-1] for curve in curves)
    axes.set(xlim=(1, last) if last > 1 else None, ylim=limits, ylabel="top-1, %")


def _draw_sweeps(axes: Axes, sweeps: Sequence[Sweep]) -> None:
    values = unique([value for sweep in sweeps for value in sweep.values])
    base = sweeps[0].base
    known = [] if base is None else [base]
    limits = percent_limits([*known, *(e for s in sweeps for ends in s.ends for e in ends)])
    names = [(s.label, values.index(s.values[-1]), s.mean[-1], s.colour) for s in sweeps]
    if base is not None:
        axes.axhline(base, color=GREY, lw=1.2, ls="--", zorder=1)
        names.append(("base", len(values) - 1, base, GREY))
    places = _names_y([y for _, _, y, _ in names], limits, NAME_INCHES / (4.2 - RIM_INCHES))
    for (label, x, y, colour), name_y in zip(names, places, strict=True):
        name_at_right(axes, label, (x, y), name_y, colour)
    for sweep in sweeps:
        below = [mean - low for mean, (low, _) in zip(sweep.mean, sweep.ends, strict=True)]
        above = [high - mean for mean, (_, high) in zip(sweep.mean, sweep.ends, strict=True)]
        axes.errorbar(
            [values.index(value) for value in sweep.values],
            sweep.mean,
            yerr=(below, above),
            fmt="o-",
            color=sweep.colour,
            capsize=3,
            lw=1.4,
            ms=6,
        )
    axes.set_xticks(range(len(values)), [plain(value) for value in values])
    axes.set(ylim=limits, ylabel="top-1, %")


def _names_y(
    places: Sequence[float], limits: tuple[float, float], name_share: float
) -> list[float]:
    gap = name_share * (limits[1] - limits[0])
    return spread_out(places, gap, limits[0] + gap / 2, limits[1] - gap / 2)
