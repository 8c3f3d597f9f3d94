"""SRM: "A Style-based Recalibration Module for Convolutional Neural Networks", Lee et al. 2019.

https://arxiv.org/abs/1903.10829; the authors' code:
https://github.com/hyunjaelee410/style-based-recalibration-module
"""

import torch
from torch import Tensor, nn

from convgate.gates.base import GATES, Gate, check_batch, statistics_dtype
from convgate.kernels.float16 import apply_wide, matched


@GATES.register("srm")
class SRM(Gate):
    """Each channel weighed by its own mean and standard deviation.

        s = sigmoid(BN(w_mean mean_hw(x) + w_std sqrt(var_hw(x) + eps))),    y = s * x

    The two weights of a channel have no bias and start at zero, so s is 0.5 at first. The
    variance is the unbiased one; a single position (H = W = 1) has none, and counts as zero. The
    batch norm sees one value per sample and channel: training needs a batch of 2 or more. The
    authors exempt all parameters of the module from weight decay. An unofficial port with default
    initial weights and no eps is a different module.

    In float16 a running variance above 65504 is infinite.

    Shape: x (N, C, H, W) -> y (N, C, H, W); s is (N, C, 1, 1).
    Source: arXiv 1903.10829, section 3; eps, start and unbiased variance as in
        hyunjaelee410/style-based-recalibration-module, models/recalibration_modules.py.

    Args:
        channels: C.
        eps: Added to the variance before the square root.

    Raises:
        InputError: at the call, for a training batch of 1.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels)
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(channels, 2))
        self.norm = nn.BatchNorm2d(channels)

    def gate(self, x: Tensor) -> Tensor:
        if self.training:
            check_batch(self.name, x.shape[0])
        dtype = statistics_dtype(x)
        lone = x.shape[2] * x.shape[3] == 1
        var, mean = torch.var_mean(x.to(dtype), (2, 3), correction=0 if lone else 1, keepdim=True)
        w_mean, w_std = self.weight.to(dtype)[:, :, None, None].unbind(1)
        z = w_mean * mean + w_std * (var + self.eps).sqrt()
        return torch.sigmoid(apply_wide(self.norm, matched(z, self.norm.weight)))

    def constant_(self) -> float:
        """Set s = 1/2, as published; with a norm of weight zero the gate would never learn."""
        nn.init.zeros_(self.weight)
        nn.init.ones_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)
        return 0.5
