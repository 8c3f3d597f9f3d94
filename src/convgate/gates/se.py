"""SE: "Squeeze-and-Excitation Networks", Hu et al. 2018. https://arxiv.org/abs/1709.01507."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convgate.errors import unknown
from convgate.gates.base import GATES, hidden_width
from convgate.gates.pooled import MeanGate
from convgate.kernels.float16 import apply_wide

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda s: F.relu6(s + 3) / 6,
    "tanh": torch.tanh,
    "identity": lambda s: s,
}


@GATES.register("se")
class SE(MeanGate):
    """Squeeze-and-excitation: a bottleneck of two linear layers on the spatial mean.

        s = act(W2 relu(W1 mean_hw(x) + b1) + b2),    y = s * x

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, 1, 1).
    Source: arXiv 1709.01507, eq. 2-4. The equations show no biases; the authors' published
        networks (hujie-frank/SENet) have both, and so has this one. The activations other than
        the sigmoid are those of Table 6 in doi 10.32604/cmc.2025.059966.

    Args:
        channels: C.
        reduction: C divided by the hidden width.
        bias: Whether both layers have one.
        min_hidden: The hidden width is at least this.
        divisor: The hidden width is a multiple of this; the MobileNets have 8.
        activation: `sigmoid`, `hard_sigmoid` (relu6(s + 3) / 6), `tanh` or `identity`.

    Raises:
        InputError: for an unknown activation, or if `reduction`, `min_hidden` or
            `divisor` is not positive.
    """

    first_layer = "squeeze"

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        bias: bool = True,
        min_hidden: int = 1,
        divisor: int = 1,
        activation: str = "sigmoid",
    ) -> None:
        super().__init__(channels)
        if activation not in ACTIVATIONS:
            raise unknown("activation of SE", activation, ACTIVATIONS)
        hidden = hidden_width(self.name, channels, reduction, min_hidden, divisor)
        self.activation = activation
        self.squeeze = nn.Linear(channels, hidden, bias=bias)
        self.excite = nn.Linear(hidden, channels, bias=bias)

    def scale(self, mean: Tensor) -> Tensor:
        z = mean.flatten(1)  # (N, C)
        s = apply_wide(self.excite, torch.relu(apply_wide(self.squeeze, z)))
        return ACTIVATIONS[self.activation](s)[:, :, None, None]

    def constant_(self) -> float | None:
        """Set s = act(0), or s = 1 by the bias of `identity`; a tanh would have no gradient."""
        linear = self.activation == "identity"
        if self.activation == "tanh" or (linear and self.excite.bias is None):
            return None
        nn.init.zeros_(self.excite.weight)
        if self.excite.bias is not None:
            nn.init.constant_(self.excite.bias, float(linear))
        return 1.0 if linear else 0.5
