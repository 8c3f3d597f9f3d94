"""The random shift of YOLOF: "You Only Look One-level Feature", Chen et al. 2021.

https://arxiv.org/abs/2103.09460
"""

import torch
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import clip_boxes_to_image

Target = dict[str, Tensor]


class Shifting(GeneralizedRCNNTransform):  # type: ignore[misc]
    """The resizing of torchvision; half of the training images then move by some pixels.

    Each side moves by up to ``shift_px`` pixels of the resized image; what leaves it is lost,
    objects too, and what comes in is black.

    Source: arXiv 2103.09460; as in chensnathan/YOLOF, yolof/data/augmentation_impl.py and
        yolof/data/transform.py.
    """

    shift_px = 0

    def resize(self, image: Tensor, target: Target | None = None) -> tuple[Tensor, Target | None]:
        image, target = super().resize(image, target)
        if not (self.training and self.shift_px and target and float(torch.rand(())) < 0.5):
            return image, target
        most = self.shift_px
        across, down = torch.randint(-most, most + 1, (2,)).tolist()
        black = self.normalize(image.new_zeros(len(image), 1, 1))
        return shift(image, across, down, black), shift_objects(target, across, down, image)


def shift(image: Tensor, across: int, down: int, colour: Tensor) -> Tensor:
    """Move an image right and down, or left and up by less than 0.

    Shape: image (C, H, W), colour (C, 1, 1) -> (C, H, W).
    """
    height, width = image.shape[1:]
    across, down = max(-width, min(across, width)), max(-height, min(down, height))
    moved = colour.expand_as(image).clone()
    moved[:, max(down, 0) : height + min(down, 0), max(across, 0) : width + min(across, 0)] = image[
        :, max(-down, 0) : height - max(down, 0), max(-across, 0) : width - max(across, 0)
    ]
    return moved


def shift_objects(target: Target, across: int, down: int, image: Tensor) -> Target:
    """Move boxes with their image and leave out those that it lost."""
    step = target["boxes"].new_tensor([across, down, across, down])
    height, width = image.shape[1:]
    boxes = clip_boxes_to_image(target["boxes"] + step, (height, width))
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return {"boxes": boxes[kept], "labels": target["labels"][kept]}
