"""What every gate shares: y = gate(x) * x, checked channels, and a way to start as the identity."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.kernels.float16 import scaled
from convgate.registry import OpenRegistry


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

    __jit_unused_properties__: ClassVar = ["name"]  # TorchScript knows no types by their names

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
        return scaled(x, self.gate(x))

    def constant_(self) -> float | None:
        """Set the parameters so that y = c x exactly for every x, while gradients still flow.

        Returns:
            c, by which insertion divides to start as the identity; None where no such parameters
            exist, and the gate stays as it is.
        """
        return None


GATES = OpenRegistry("gate", Gate, group="convgate.gates")


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The dtype to accumulate in: float32 for half precision, else the dtype of x."""
    half = x.dtype == torch.float16 or x.dtype == torch.bfloat16
    return torch.float32 if half else x.dtype


def hidden_width(gate: str, channels: int, reduction: int, floor: int = 1, divisor: int = 1) -> int:
    """Return max(channels // reduction, floor), the width of a squeezed layer.

    With ``divisor`` above 1 the width is channels / reduction rounded to the nearest multiple of
    it, and up where that would lose more than a tenth: the rule of the MobileNets.

    Raises:
        InputError: if `reduction`, `floor` or `divisor` is not positive.
    """
    for option, value in (("reduction", reduction), ("min_hidden", floor), ("divisor", divisor)):
        if value < 1:
            raise InputError(f"{gate}: {option}={value} must be 1 or more")
    hidden = channels // reduction
    if divisor > 1:
        rounded = max(divisor, (hidden + divisor // 2) // divisor * divisor)
        hidden = rounded if rounded >= 0.9 * hidden else rounded + divisor
    return max(hidden, floor)


def check_batch(gate: str, values: int) -> None:
    """Ask for more than one value per channel, without which a batch norm cannot train.

    Raises:
        InputError: if `values` is one.
    """
    if values == 1:
        raise InputError(
            f"{gate}: its batch norm cannot train on a single value per channel; "
            "use a batch of 2 or more, or eval()"
        )


def create_gate(name: str, channels: int, **options: object) -> Gate:
    """Build a gate by its name.

    Args:
        name: One of `list_gates()`, or "module:Class" for a gate of your own, whose module is
            imported.
        channels: C of the tensor it will scale.
        options: The gate's own keyword options.

    Raises:
        InputError: for an unknown name or option (with the nearest valid one), or for a
            channel count that the gate cannot take (with the way out).
    """
    GATES.load(name)
    return GATES.create(name, channels, **options)


def list_gates() -> list[str]:
    """Return the names of all gates, those of installed packages among them, sorted."""
    return list(GATES)
