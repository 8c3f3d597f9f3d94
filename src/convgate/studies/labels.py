"""Where the names of points go so that none covers another."""

from collections.abc import Sequence


def spread_out(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places on a line as little as needed until neighbours are ``gap`` apart.

    Their order stays. Where the line from ``low`` to ``high`` is too short for all, the gap
    shrinks to fill it evenly.
    """
    count = len(places)
    if count > 1:
        gap = min(gap, (high - low) / (count - 1))
    order = sorted(range(count), key=lambda i: places[i])
    # Without the gaps "apart" becomes "not falling", which the nearest such line solves.
    level = _rising([places[i] - rank * gap for rank, i in enumerate(order)])
    top = high - (count - 1) * gap
    moved = list(places)
    for rank, i in enumerate(order):
        moved[i] = min(max(level[rank], low), top) + rank * gap
    return moved


def _rising(values: Sequence[float]) -> list[float]:
    """Return the line that never falls and is nearest in squares: neighbours that fall pool."""
    pools: list[tuple[float, int]] = []  # mean, size
    for value in values:
        mean, size = value, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean, size = (mean * size + other * others) / (size + others), size + others
        pools.append((mean, size))
    return [mean for mean, size in pools for _ in range(size)]
