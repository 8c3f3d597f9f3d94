"""GELU with its mean on SELNeXt's hidden features."""

from case import Case, Make

from convgate.kernels.gelu_mean import gelu_mean as operator


def gelu_mean(make: Make, n: int, c: int, side: int) -> Case:
    """Read x, write y; back: read x and the gradient, write that of x."""
    x = make(n, 4 * c, side, side)
    return Case(lambda: operator(x)[0], (x,), 2 * x.nbytes, 3 * x.nbytes, str(tuple(x.shape)))
