"""Channel counts that have to be split into equal parts."""

from convgate.errors import InputError


def require_divisor(gate: str, channels: int, option: str, parts: int) -> None:
    """Check that ``parts`` splits ``channels`` evenly.

    Args:
        gate: The name that starts the sentence.
        channels: C.
        option: The option that holds ``parts``.
        parts: The number of parts, or the size of one.

    Raises:
        InputError: naming the nearest values of the option that divide C.
    """
    if parts >= 1 and channels % parts == 0:
        return
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    below = [d for d in divisors if d < parts][-1:]
    above = [d for d in divisors if d > parts][:1]
    nearest = " or ".join(f"{option}={d}" for d in below + above)
    raise InputError(
        f"{gate}: channels={channels} is not divisible by {option}={parts}; use {nearest}"
    )
