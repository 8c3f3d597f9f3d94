"""Where the names of points go so that none covers another."""

from collections.abc import Sequence


def spread_out(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places on a line as little as needed until neighbours are ``gap`` apart.

    Their order stays. Where the line from ``low`` to ``high`` is too short for all, the gap
    shrinks to fill it evenly.
    """
    if len(places) > 1:
        gap = min(gap, (high - low) / (len(places) - 1))
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    floor = low
    for i in order:
        moved[i] = floor = max(places[i], floor)
        floor += gap
    ceiling = high
    for i in reversed(order):
        moved[i] = ceiling = min(moved[i], ceiling)
        ceiling -= gap
    return moved
