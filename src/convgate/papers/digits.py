"""Counts in the digits that a table prints, and whether they agree."""

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation

SCALES = {"G": 10**9, "M": 10**6, "MiB": 2**20}
UNPRINTED = "0.0"
"""As many digits as a cell has that the paper does not print."""


def shown(number: int, reported: str, unit: str) -> str:
    """Return a count in the printed unit, with two digits more than were printed, four at most."""
    last = Decimal(1).scaleb(max(_exponent(reported) - 2, -4))
    return str((Decimal(number) / SCALES[unit]).quantize(last, ROUND_HALF_UP))


def agrees(number: int, reported: str, unit: str, *, truncated: bool = False) -> bool:
    """Tell whether a count gives the printed digits."""
    rounding = ROUND_DOWN if truncated else ROUND_HALF_UP
    last = Decimal(1).scaleb(_exponent(reported))
    return (Decimal(number) / SCALES[unit]).quantize(last, rounding) == Decimal(reported)


def number(text: str) -> float | None:
    """Return a printed cell as a number; None for words."""
    try:
        return float(Decimal(text))
    except InvalidOperation:
        return None


def _exponent(text: str) -> int:
    exponent = Decimal(text).as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
