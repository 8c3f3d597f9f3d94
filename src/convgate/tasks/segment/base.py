"""Networks that label every pixel, by name, and what all of them take and give."""

from typing import Any

from torch import nn

from convgate.registry import Registry
from convgate.tasks.backbone import Backbone

SEGMENTERS: Registry[nn.Module] = Registry("segmenter")
IGNORED = 255  # the label of pixels that count in no loss


def create_segmenter(
    name: str, backbone: Backbone, *, num_classes: int, **options: Any
) -> nn.Module:
    """Build a network for semantic segmentation by its registered name.

    In training it maps images and masks to {"loss": a scalar}, in evaluation images to logits
    (N, K, H, W).

    - images: (N, 3, H, W) in 0..1; the network subtracts the backbone's mean and divides by its
      deviation.
    - masks: (N, H, W), int64, labels from 0 to K - 1; 255 for pixels that do not count.

    Args:
        name: One of `list_segmenters()`.
        backbone: Its deepest feature map is taken.
        num_classes: K, with the background.
        options: The network's own keyword options.

    Raises:
        InputError: for an unknown name or option.
    """
    return SEGMENTERS.create(name, backbone, num_classes=num_classes, **options)


def list_segmenters() -> list[str]:
    """Return the names of all networks for segmentation, sorted."""
    return list(SEGMENTERS)
