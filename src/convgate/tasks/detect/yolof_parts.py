"""The encoder and the decoder of YOLOF: "You Only Look One-level Feature", Chen et al. 2021.

https://arxiv.org/abs/2103.09460
"""

import math

from torch import Tensor, nn

WIDTH, HIDDEN = 512, 128
DILATIONS = (2, 4, 6, 8)
CLASS_LAYERS, BOX_LAYERS = 2, 4
PRIOR = 0.01  # probability of any class at the start
LARGEST = math.log(1e8)  # logit whose exponential enters the implicit objectness


class DilatedBlock(nn.Module):
    """A residual block: 1x1, dilated 3x3 and 1x1, each with norm and ReLU."""

    num_channels = WIDTH

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_layer(WIDTH, HIDDEN), *_layer(HIDDEN, HIDDEN, dilation), *_layer(HIDDEN, WIDTH)
        )
        for module in self.branch:
            _small(module)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class DilatedEncoder(nn.Module):
    """A linear projection to 512 channels and four residual blocks of growing dilation.

    Shape: x (N, width, H, W) -> (N, 512, H, W).
    Source: arXiv 2103.09460, section 4.1 and Figure 5; biases, the norms of the projection and the
        last ReLU of a block as in chensnathan/YOLOF, yolof/modeling/encoder.py.

    Args:
        width: Channels of x.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        lateral, smooth = nn.Conv2d(width, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        for conv in (lateral, smooth):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        norms = nn.BatchNorm2d(WIDTH), nn.BatchNorm2d(WIDTH)
        self.project = nn.Sequential(lateral, norms[0], smooth, norms[1])
        self.blocks = nn.Sequential(*(DilatedBlock(dilation) for dilation in DILATIONS))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.project(x))


class Decoder(nn.Module):
    """Two convolutions for the classes, four for box and objectness, then one layer for each.

    The class logit s and the objectness logit o, which no target trains, give one logit:

        s + o - log(1 + e^s + e^o),    the logit of sigmoid(s) sigmoid(o).

    Shape: x (N, 512, H, W) -> logits (N, H W A, K), box codes (N, H W A, 4).
    Source: arXiv 2103.09460, section 4.1 and Figure 4; as in chensnathan/YOLOF,
        yolof/modeling/decoder.py.

    Args:
        num_anchors: A.
        num_classes: K.
    """

    def __init__(self, num_anchors: int, num_classes: int) -> None:
        super().__init__()
        self.classes, self.boxes = _tower(CLASS_LAYERS), _tower(BOX_LAYERS)
        self.to_class = nn.Conv2d(WIDTH, num_anchors * num_classes, 3, padding=1)
        self.to_box = nn.Conv2d(WIDTH, num_anchors * 4, 3, padding=1)
        self.to_object = nn.Conv2d(WIDTH, num_anchors, 3, padding=1)
        for module in self.modules():
            _small(module)
        nn.init.constant_(self.to_class.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        self.num_anchors = num_anchors

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        box = self.boxes(x)
        s, o = self._rows(self.to_class(self.classes(x))), self._rows(self.to_object(box))
        # Clamped before exp, not after: there the gradient of an overflow would be no number.
        both = s + o - (1 + s.clamp(max=LARGEST).exp() + o.clamp(max=LARGEST).exp()).log()
        return both, self._rows(self.to_box(box))

    def _rows(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        split = x.reshape(n, self.num_anchors, c // self.num_anchors, h, w)
        return split.permute(0, 3, 4, 1, 2).reshape(n, h * w * self.num_anchors, -1).float()


def _layer(width_in: int, width: int, dilation: int = 0) -> list[nn.Module]:
    side = 3 if dilation else 1
    conv = nn.Conv2d(width_in, width, side, padding=dilation, dilation=max(dilation, 1))
    return [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _tower(count: int) -> nn.Sequential:
    return nn.Sequential(*(layer for _ in range(count) for layer in _layer(WIDTH, WIDTH, 1)))


def _small(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
