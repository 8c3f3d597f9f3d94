"""The first line of a report: which gate to take, as far as the numbers say."""

from collections.abc import Sequence

from convgate.studies.compare import Difference
from convgate.studies.grid import unique
from convgate.studies.notation import points, ratio
from convgate.studies.summary import Row

CHOICE = "the base is the choice"


def answer(rows: Sequence[Row], budget: float) -> str:
    """Return the answer for each backbone, in one line.

    A gate counts as within the budget if the whole interval of its latency ratio does, and as
    a gain if the whole interval of its paired difference lies above zero.
    """
    groups = unique([row.variant.group for row in rows])
    parts = [_answer([r for r in rows if r.variant.group == group], budget) for group in groups]
    if len(groups) == 1:
        return parts[0]
    return " ".join(f"{group}: {part}" for group, part in zip(groups, parts, strict=True))


def _answer(rows: Sequence[Row], budget: float) -> str:
    if not rows[0].variant.is_base or rows[0].mean is None:
        return "No answer: the base has no finished run to compare with."
    rivals = [row for row in rows if row.difference and row.facts]
    if not rivals:
        return "No answer: no gate has a finished run beside the base's."
    within = [row for row in rivals if row.fits(budget)]
    outside = [row for row in _gains(rivals) if row not in within]
    sentence = _inside(within, budget) if within else _nothing_fits(rivals, budget)
    return f"{sentence}{_beyond(outside)}"


def _inside(within: Sequence[Row], budget: float) -> str:
    best = max(within, key=_mean)
    if gains := _gains(within):
        return f"Within {budget:.2f}x of the base's latency: {_described(max(gains, key=_mean))}."
    bound = f"within {budget:.2f}x of the base's latency"
    verdicts = {_difference(row).verdict for row in within}
    if verdicts == {"no interval"}:
        return (
            f"No interval from one seed: {bound} the best mean is {_described(best)}; train at"
            " least three seeds before choosing."
        )
    word = "a gain" if "lower" in verdicts else "a difference"
    return (
        f"No gate {bound} shows {word} beyond its interval; {CHOICE}."
        f" Best mean: {_described(best)}."
    )


def _nothing_fits(rivals: Sequence[Row], budget: float) -> str:
    nearest = min(rivals, key=lambda row: row.facts.ratio_high if row.facts else float("inf"))
    return (
        f"No gate lies within {budget:.2f}x of the base's latency; {CHOICE}."
        f" Nearest: {_described(nearest)}."
    )


def _beyond(outside: Sequence[Row]) -> str:
    if not outside:
        return ""
    return f" Above the budget, {_described(max(outside, key=_mean))} shows a gain."


def _gains(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if _difference(row).verdict == "higher"]


def _difference(row: Row) -> Difference:
    assert row.difference is not None
    return row.difference


def _mean(row: Row) -> float:
    return _difference(row).mean


def _described(row: Row) -> str:
    assert row.facts is not None
    return f"{row.label_in_group} ({points(_difference(row))}, {ratio(row.facts)})"
