"""How numbers read in a sentence, a table and a picture."""

from convgate.studies.compare import Difference
from convgate.studies.measurements import Facts

ABSENT = "-"


def points(difference: Difference) -> str:
    """Return e.g. "+0.42 points [+0.10, +0.74]"; without an interval where there is none."""
    return f"{difference.mean:+z.2f} points {interval(difference)}".strip()


def interval(difference: Difference) -> str:
    """Return e.g. "[+0.10, +0.74]", or nothing."""
    if difference.low is None or difference.high is None:
        return ""
    return f"[{difference.low:+z.2f}, {difference.high:+z.2f}]"


def ratio(facts: Facts) -> str:
    """Return e.g. "1.042x [1.031, 1.053]"."""
    return f"{facts.ratio:.3f}x {ratio_interval(facts)}"


def ratio_interval(facts: Facts) -> str:
    """Return e.g. "[1.031, 1.053]"."""
    return f"[{facts.ratio_low:.3f}, {facts.ratio_high:.3f}]"


def spread(mean: float | None, std: float | None, digits: int = 2) -> str:
    """Return e.g. "71.30 ± 0.42"."""
    if mean is None:
        return ABSENT
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} ± {std:.{digits}f}"


def count(number: int) -> str:
    """Return a count in three figures: "35.1 M", "271 k", "640"."""
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * size:
            figures = 2 - (number >= 9.995 * size) - (number >= 99.95 * size)
            return f"{number / size:.{figures}f}{prefix}"
    return str(number)


def duration(seconds: float) -> str:
    """Return e.g. "48 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
