"""The cosine distance of SELNeXt's hidden features."""

from case import Case, Make

from convgate.kernels.cosine_distance import cosine_distance as operator


def cosine_distance(make: Make, n: int, c: int, side: int) -> Case:
    """Read x twice, for the norms and for the mean direction; back: read it once, write once."""
    x = make(n, 4 * c, side, side)
    return Case(lambda: operator(x)[0], (x,), 2 * x.nbytes, 2 * x.nbytes, str(tuple(x.shape)))
