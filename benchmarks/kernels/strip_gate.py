"""The strips and the product of ELA and CA, without the small network in between."""

from case import Case, Make

from convgate.kernels.strip_gate import strip_gate as product
from convgate.kernels.strip_gate import strips


def strip_gate(make: Make, n: int, c: int, side: int) -> Case:
    """Read x for the strips and for y, write y; back: read x and the gradient, write a gradient.

    The gradient through the strips, one more write and a sum of two maps, is beyond the least.
    """
    x = make(n, c, side, side)

    def run() -> object:
        rows, columns = strips(x)
        return product(x, rows.to(x.dtype), columns.to(x.dtype))

    return Case(run, (x,), 3 * x.nbytes, 3 * x.nbytes, str(tuple(x.shape)))
