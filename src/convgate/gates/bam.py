"""BAM: "BAM: Bottleneck Attention Module", Park et al. 2018. https://arxiv.org/abs/1807.06514."""

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.gates.base import GATES, Gate, check_batch, hidden_width, statistics_dtype
from convgate.kernels.float16 import apply_wide, widened


def conv_bn_relu(inputs: int, outputs: int, kernel_size: int, dilation: int = 1) -> nn.Sequential:
    """Convolve at the same size (odd kernel, with bias), normalise, rectify."""
    padding = dilation * (kernel_size // 2)
    conv = nn.Conv2d(inputs, outputs, kernel_size, padding=padding, dilation=dilation)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


@GATES.register("bam")
class BAM(Gate):
    """A channel branch and a dilated spatial branch, multiplied; published between stages.

        Mc = W2 relu(bn(W1 mean_hw(x) + b1)) + b2
        Ms = conv1x1(conv3x3(conv3x3(conv1x1(x)))),    each but the last with bn and relu
        s = 1 + sigmoid(Mc * Ms),    y = s * x

    In float16 both branches run in float32. A running variance above 65504, which a map of +-440
    reaches with fresh weights, is infinite, and so is y of a map above 32752 where s is 2.

    Shape: x (N, C, H, W) -> y (N, C, H, W); Mc is (N, C, 1, 1), Ms (N, 1, H, W), s (N, C, H, W).
    Source: arXiv 1807.06514, eq. 1-4. The paper adds Mc and Ms and ends both branches with a batch
        norm; the authors' code (Jongchan/attention-module) multiplies them and has no norm at the
        end, and so has this one. The code pools a window of H x H, which drops columns where
        W > H; the paper's global mean is taken here.

    Args:
        channels: C.
        reduction: C divided by the hidden width of both branches.
        dilation: Of the two 3x3 convolutions.
        min_hidden: The hidden width is at least this.

    Raises:
        InputError: if an option is not positive; at the call, for a training batch of 1, whose
            channel branch has nothing to normalise over.
    """

    def __init__(
        self, channels: int, *, reduction: int = 16, dilation: int = 4, min_hidden: int = 1
    ) -> None:
        super().__init__(channels)
        if dilation < 1:
            raise InputError(f"BAM: dilation={dilation} must be 1 or more")
        hidden = hidden_width(self.name, channels, reduction, min_hidden)
        self.squeeze = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.excite = nn.Linear(hidden, channels)
        self.spatial = nn.Sequential(
            conv_bn_relu(channels, hidden, 1),
            conv_bn_relu(hidden, hidden, 3, dilation),
            conv_bn_relu(hidden, hidden, 3, dilation),
            nn.Conv2d(hidden, 1, 1),
        )

    def gate(self, x: Tensor) -> Tensor:
        if self.training:
            check_batch(self.name, x.shape[0])
        x = widened(x)
        z = x.mean((2, 3), dtype=statistics_dtype(x)).to(x.dtype)
        hidden = torch.relu(apply_wide(self.norm, apply_wide(self.squeeze, z)))
        channel = apply_wide(self.excite, hidden)[:, :, None, None]
        return 1 + torch.sigmoid(channel * apply_wide(self.spatial, x))

    def constant_(self) -> float:
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)
        return 1.5
