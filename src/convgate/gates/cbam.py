"""CBAM: "Convolutional Block Attention Module", Woo et al. 2018. https://arxiv.org/abs/1807.06521."""

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.gates.base import GATES, Gate, check_batch, hidden_width, statistics_dtype
from convgate.kernels.float16 import apply_wide, widened


@GATES.register("cbam")
class CBAM(Gate):
    """A channel gate from the mean and the maximum, then a spatial gate of the scaled map.

        Mc = sigmoid(mlp(mean_hw(x)) + mlp(max_hw(x))),    mlp(z) = W2 relu(W1 z + b1) + b2
        Ms = sigmoid(bn(conv([max_c(Mc x), mean_c(Mc x)]))),    y = Ms * Mc * x

    In float16 both gates run in float32. A running variance above 65504, which a map of +-1,770
    reaches with fresh weights, is infinite.

    Shape: x (N, C, H, W) -> y (N, C, H, W); Mc is (N, C, 1, 1), Ms (N, 1, H, W), and the gate is
        their product.
    Source: arXiv 1807.06521, eq. 1-3. Where paper and code (Jongchan/attention-module) differ the
        code is taken: biases in the MLP, maximum before mean, and a batch norm (momentum 0.01)
        behind the spatial convolution. The authors' ResNet also starts that norm's weight at
        zero; the module alone, and this one, starts it at one.

    Args:
        channels: C.
        reduction: C divided by the hidden width of the MLP.
        kernel_size: Side of the spatial convolution, odd.
        bias: Whether the two layers of the MLP have one.
        norm: Whether a batch norm follows the spatial convolution.
        min_hidden: The hidden width is at least this.

    Raises:
        InputError: if `kernel_size` is even, or `reduction` or `min_hidden` is not positive; at
            the call, if a training batch of 1 has only one position to normalise over.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        kernel_size: int = 7,
        bias: bool = True,
        norm: bool = True,
        min_hidden: int = 1,
    ) -> None:
        super().__init__(channels)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(
                f"CBAM: kernel_size={kernel_size} must be odd; use {max(kernel_size, 0) + 1}"
            )
        hidden = hidden_width(self.name, channels, reduction, min_hidden)
        self.squeeze = nn.Linear(channels, hidden, bias=bias)
        self.excite = nn.Linear(hidden, channels, bias=bias)
        self.spatial = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01) if norm else None

    def gate(self, x: Tensor) -> Tensor:
        x = widened(x)
        channel = self.channel_gate(x).to(x.dtype)
        return channel * self.spatial_gate(x * channel).to(x.dtype)

    def channel_gate(self, x: Tensor) -> Tensor:
        """Return Mc (N, C, 1, 1)."""
        mean = x.mean((2, 3), dtype=statistics_dtype(x)).to(x.dtype)
        pooled = torch.stack([mean, x.amax((2, 3))])  # (2, N, C)
        s = apply_wide(self.excite, torch.relu(apply_wide(self.squeeze, pooled))).sum(0)
        return torch.sigmoid(s)[:, :, None, None]

    def spatial_gate(self, x: Tensor) -> Tensor:
        """Return Ms (N, 1, H, W) of the map that the channel gate has scaled."""
        mean = x.mean(1, keepdim=True, dtype=statistics_dtype(x)).to(x.dtype)
        s = apply_wide(self.spatial, torch.cat([x.amax(1, keepdim=True), mean], 1))
        if self.norm is not None:
            if self.training:
                check_batch(self.name, s.numel())
            s = apply_wide(self.norm, s)
        return torch.sigmoid(s)

    def constant_(self) -> float:
        last = self.spatial if self.norm is None else self.norm
        for layer in (self.excite, last):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        return 0.25
