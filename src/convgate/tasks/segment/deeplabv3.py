"""DeepLabV3: "Rethinking Atrous Convolution for Semantic Image Segmentation", Chen et al. 2017.

https://arxiv.org/abs/1706.05587
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from convgate.errors import InputError
from convgate.gates.base import check_batch
from convgate.tasks.backbone import Backbone
from convgate.tasks.segment.base import IGNORED, SEGMENTERS

RATES = (6, 12, 18)  # at stride 16
STRIDE = 16
DROPOUT = 0.1


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
