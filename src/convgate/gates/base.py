"""What every gate shares: y = gate(x) * x, checked channels, and a way to start as the identity."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.registry import Registry

GATES: Registry["Gate"] = Registry("gate")


class Gate(nn.Module):
    """Attention that scales its input: y = gate(x) * x.

    A subclass writes its paper's mathematics once, in `gate`, which returns a scale that
    broadcasts against x. Statistics and norms accumulate in float32 (float64 for float64 input).

    Shape: x (N, C, H, W) with H, W >= 1 -> y (N, C, H, W), in the dtype and memory format of x.

    Args:
        channels: C.

    Raises:
        InputError: if C is not a positive integer.
    """

    is_product: ClassVar[bool] = True
    """False where the published module does more than scale, and therefore overrides `forward`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"{self.name}: channels={channels} must be 1 or more")
        self.channels = channels

    @property
    def name(self) -> str:
        return type(self).__name__

    def gate(self, x: Tensor) -> Tensor:
        """Return the scale for x (N, C, H, W); it broadcasts against x."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x).to(x.dtype)

    def identity_(self) -> bool:
        """Set the parameters so that y = x exactly while gradients still flow.

        Returns:
            False where no such parameters exist; `convgate.insert.IdentityStart` then does it.
        """
        return False


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The dtype to accumulate in: float32 for half precision, else the dtype of x."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def create_gate(name: str, channels: int, **options: object) -> Gate:
    """Build a gate by its registered name.

    Args:
        name: One of `list_gates()`.
        channels: C of the tensor it will scale.
        options: The gate's own keyword options.

    Raises:
        InputError: for an unknown name or option (with the nearest valid one), or for a
            channel count that the gate cannot take (with the way out).
    """
    return GATES.create(name, channels, **options)


def list_gates() -> list[str]:
    """Return the names of all gates, sorted."""
    return list(GATES)
