"""Channel counts that have to be split into equal parts."""

import math
from collections.abc import Iterable

from convgate.errors import InputError


class NotDivisible(InputError):
    """A number of parts that does not split the channels evenly.

    Args:
        gate: The name that starts the sentence.
        channels: C.
        option: The option that holds ``parts``.
        parts: The number of parts, or the size of one.
        factor: So many times ``parts`` has to divide C.
    """

    def __init__(self, gate: str, channels: int, option: str, parts: int, factor: int = 1) -> None:
        times = "twice " if factor == 2 else ""
        self.reason = f"{gate}: channels={channels} is not divisible by {times}{option}={parts}"
        self.option, self.parts, self.factor = option, parts, factor
        nearest = " or ".join(f"{option}={d}" for d in self._nearest(channels))
        super().__init__(f"{self.reason}; use {nearest or 'an even number of channels'}")

    def for_all(self, channels: Iterable[int]) -> "NotDivisible":
        """Return the same error with a way out that serves several channel counts at once."""
        widths = sorted(set(channels))
        shown = ", ".join(map(str, widths))
        found = self._nearest(math.gcd(*widths))
        way = f"use {self.option}={found[0]}, which divides" if found else "no number of it divides"
        self.args = (f"{self.reason}; {way} the channels of all chosen sites ({shown})",)
        return self

    def _nearest(self, channels: int) -> list[int]:
        """Return the nearest values of the option that divide C, the one below first."""
        most = channels // self.factor if channels % self.factor == 0 else 0
        divisors = [d for d in range(1, most + 1) if most % d == 0]
        below = [d for d in divisors if d < self.parts][-1:]
        return below + [d for d in divisors if d > self.parts][:1]


def require_divisor(gate: str, channels: int, option: str, parts: int, factor: int = 1) -> None:
    """Check that ``parts``, or ``factor`` times it, splits ``channels`` evenly.

    Raises:
        NotDivisible: naming the nearest values of the option that divide C.
    """
    if parts < 1 or channels % (factor * parts):
        raise NotDivisible(gate, channels, option, parts, factor)
