"""ECA: "ECA-Net: Efficient Channel Attention", Wang et al. 2020. https://arxiv.org/abs/1910.03151."""

import math

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.gates.base import GATES
from convgate.gates.pooled import MeanGate
from convgate.kernels.float16 import apply_wide


def adaptive_kernel_size(channels: int) -> int:
    """Return the whole part of log2(C) / 2 + 1/2, plus one where that is even (eq. 12)."""
    size = int(math.log2(channels) / 2 + 0.5)
    return size if size % 2 else size + 1


@GATES.register("eca")
class ECA(MeanGate):
    """A one-dimensional convolution across neighbouring channels of the spatial mean.

        s = sigmoid(conv1d_k(mean_hw(x))),    y = s * x

    The convolution has one filter and no bias, and pads both ends of the channel axis with zeros.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, 1, 1).
    Source: arXiv 1910.03151, eq. 9 and 12. The paper derives k from C, and that is the default
        here; the authors' code (BangguWu/ECANet) has no such rule but is given one k for each
        stage: 3, 5, 5, 7 in ResNet-50; 3, 5, 7, 7 in ResNet-18; 3, 3, 5, 7 in ResNet-34, 101 and
        152; in MobileNetV2 1 below 96 channels, else 3. `kernel_size` reaches those.

    Args:
        channels: C.
        kernel_size: k, odd; None takes the paper's rule.

    Raises:
        InputError: if k is even or not positive.
    """

    def __init__(self, channels: int, *, kernel_size: int | None = None) -> None:
        super().__init__(channels)
        size = adaptive_kernel_size(channels) if kernel_size is None else kernel_size
        if size < 1 or size % 2 == 0:
            raise InputError(f"ECA: kernel_size={size} must be odd; use {max(size, 0) + 1}")
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def scale(self, mean: Tensor) -> Tensor:
        z = mean.flatten(1)
        s = torch.sigmoid(apply_wide(self.conv, z[:, None]))  # (N, 1, C)
        return s.squeeze(1)[:, :, None, None]

    def constant_(self) -> float:
        nn.init.zeros_(self.conv.weight)
        return 0.5
