"""The Pareto front: what nothing else beats in both cost and value."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the (cost, value) points that no other point dominates, by cost.

    A point dominates another if it costs no more, is worth no less, and is better in one of
    the two. Equal points do not dominate each other. A point with a NaN is never on the front.
    """
    finite = [i for i, (cost, value) in enumerate(points) if cost == cost and value == value]
    front: list[int] = []
    best = float("-inf")
    for i in sorted(finite, key=lambda i: (points[i][0], -points[i][1])):
        cost, value = points[i]
        if value > best or (front and points[front[-1]] == (cost, value)):
            front.append(i)
            best = value
    return front
