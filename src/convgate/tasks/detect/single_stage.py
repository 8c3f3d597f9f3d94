"""What the detectors without proposals share: resize, run, then losses or detections."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import batched_nms, clip_boxes_to_image

from convgate.errors import InputError
from convgate.tasks.backbone import Backbone
from convgate.tasks.detect.base import Sizes

Target = dict[str, Tensor]


class SingleStage(nn.Module):
    """A network that scores and places boxes at every cell at once.

    A subclass writes `predict`, `losses` and `detections`.
    """

    resize: type = GeneralizedRCNNTransform

    def __init__(self, backbone: Backbone, min_size: Sizes, max_size: int) -> None:
        super().__init__()
        self.transform = self.resize(min_size, max_size, backbone.mean, backbone.std)

    def predict(self, x: Tensor) -> Any:
        """Map a batch of images (N, 3, H, W) to what `losses` and `detections` take."""
        raise NotImplementedError

    def losses(self, predicted: Any, targets: list[Target]) -> dict[str, Tensor]:
        """Return the losses of a batch; labels in ``targets`` start at 1."""
        raise NotImplementedError

    def detections(self, predicted: Any) -> list[Target]:
        """Return candidates image by image: `boxes`, `labels` from 1, `scores`."""
        raise NotImplementedError

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        if self.training and targets is None:
            raise InputError(f"{type(self).__name__}: training needs targets beside the images")
        original = [tuple(image.shape[-2:]) for image in images]
        batch, targets = self.transform(images, targets)
        predicted = self.predict(batch.tensors)
        if self.training:
            return self.losses(predicted, targets or [])
        found = [
            {**given, "boxes": clip_boxes_to_image(given["boxes"], size)}
            for given, size in zip(self.detections(predicted), batch.image_sizes, strict=True)
        ]
        return self.transform.postprocess(found, batch.image_sizes, original)


def strongest(found: Target, nms_threshold: float, count: int) -> Target:
    """Return the best ``count`` of the candidates that no better box of their class overlaps."""
    kept = batched_nms(found["boxes"], found["scores"], found["labels"], nms_threshold)[:count]
    return {key: value[kept] for key, value in found.items()}


def cell_corners(maps: list[Tensor], strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the top left corners of all cells in pixels, x before y, and their strides.

    Shape: maps (N, C, H, W) -> corners (A, 2), strides (A, 1), with A the sum of all H W.
    """
    corners, sides = [], []
    for y, stride in zip(maps, strides, strict=True):
        rows, columns = (torch.arange(side, device=y.device) for side in y.shape[2:])
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).reshape(-1, 2)
        corners.append(grid.float() * stride)
        sides.append(torch.full((len(grid), 1), float(stride), device=y.device))
    return torch.cat(corners), torch.cat(sides)
