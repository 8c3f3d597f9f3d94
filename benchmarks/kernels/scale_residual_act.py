"""Scale, shortcut and ReLU at the end of ResNet's blocks."""

from case import Case, Make

from convgate.kernels.scale_residual_act import scale_residual_act as operator


def scale_residual_act(make: Make, n: int, c: int, side: int) -> Case:
    """Read x and r, write y; back: read the gradient, x and y, write two gradients."""
    x, r, s = make(n, c, side, side), make(n, c, side, side), make(n, c, 1, 1)
    run = lambda: operator(x, s, r, "relu")  # noqa: E731
    return Case(run, (x, s, r), 3 * x.nbytes, 5 * x.nbytes, str(tuple(x.shape)))
