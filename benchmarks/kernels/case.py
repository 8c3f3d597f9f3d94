"""What a kernel's benchmark hands to the runner."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Make = Callable[..., Tensor]
"""Makes a random feature map of a size, in the dtype and memory format of the run."""


@dataclass(frozen=True)
class Case:
    """One operator on one size.

    Attributes:
        run: the operator, on the path that is set, returning its first output.
        inputs: the tensors that take a gradient.
        forward_bytes: what one pass must read and write at least.
        backward_bytes: what the backward pass must, beside the forward pass; 0 where there is none.
        size: the size of the map, as text.
    """

    run: Callable[[], Tensor]
    inputs: tuple[Tensor, ...]
    forward_bytes: int
    backward_bytes: int
    size: str
