"""Networks that label every pixel, by name, and what all of them take and give: DeepLabV3.

"Rethinking Atrous Convolution for Semantic Image Segmentation", Chen et al. 2017.
https://arxiv.org/abs/1706.05587
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from convgate.errors import InputError
from convgate.gates.base import check_batch
from convgate.registry import Registry
from convgate.tasks.backbone import Backbone

SEGMENTERS: Registry[nn.Module] = Registry("segmenter")
IGNORED = 255  # the label of pixels that count in no loss
RATES = (6, 12, 18)  # at stride 16
STRIDE = 16
DROPOUT = 0.1


def create_segmenter(
    name: str, backbone: Backbone, *, num_classes: int, **options: Any
) -> nn.Module:
    """Build a network for semantic segmentation by its registered name.

    In training it maps images and masks to {"loss": a scalar}, in evaluation images to logits
    (N, K, H, W).

    - images: (N, 3, H, W) in 0..1; the network subtracts the backbone's mean and divides by its
      deviation.
    - masks: (N, H, W), int64, labels from 0 to K - 1; 255 for pixels that do not count.
    """
    return SEGMENTERS.create(name, backbone, num_classes=num_classes, **options)


def list_segmenters() -> list[str]:
    return list(SEGMENTERS)


@SEGMENTERS.register("deeplabv3")
class DeepLabV3(nn.Module):
    """Dilated convolutions of several rates over the last map, and their mixture.

    Rates are 6, 12 and 18 on a map of stride 16 (a backbone with ``output_stride=16``), and in
    inverse proportion on others. The ELA paper's gates go into the backbone, at "spatial".

    Shape: images (N, 3, H, W), masks (N, H, W) -> {"loss": ()}; images -> (N, K, H, W).
    Source: arXiv 1706.05587, section 3.3; torchvision's DeepLabHead with the rates, dropout (0.1)
        and backbone momentum (0.01) of VainF/DeepLabV3Plus-Pytorch.

    Args:
        backbone: Its deepest map is taken.
        num_classes: K.
        norm_momentum: Of the backbone's batch norms.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Backbone, *, num_classes: int, norm_momentum: float = 0.01
    ) -> None:
        super().__init__()
        self.backbone = backbone.last(1)
        rates = [max(rate * STRIDE // backbone.strides[0], 1) for rate in RATES]
        self.head = DeepLabHead(backbone.channels[0], num_classes, rates)
        for module in self.head.modules():
            if isinstance(module, nn.Dropout):
                module.p = DROPOUT
        for module in self.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = norm_momentum
        for name in ("mean", "std"):
            value = torch.tensor(getattr(backbone, name))[:, None, None]
            self.register_buffer(name, value, persistent=False)

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        if self.training:
            if masks is None:
                raise InputError("DeepLabV3: training needs masks beside the images")
            check_batch("DeepLabV3", len(images))
        y = self.head(self.backbone((images - self.mean) / self.std)["0"])
        logits = F.interpolate(y, images.shape[2:], mode="bilinear").float()
        return {"loss": pixel_loss(logits, masks)} if self.training else logits  # type: ignore[arg-type]


def pixel_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean cross entropy over the pixels that count; 0 where none does."""
    total = F.cross_entropy(logits, masks, ignore_index=IGNORED, reduction="sum")
    return total / (masks != IGNORED).sum().clamp(min=1)
