"""Small backbones and images with known boxes and masks."""

from types import SimpleNamespace

import pytest
import torch

from convgate.tasks.backbone import create_backbone

SMALL = {
    "cascade_mask_rcnn": {"min_size": 64, "max_size": 96},
    "mask_rcnn": {"min_size": 64, "max_size": 96},
    "faster_rcnn": {"min_size": 64, "max_size": 96},
    "retinanet": {"min_size": 64, "max_size": 96},
    "ssdlite320": {"image_px": 96},
    "yolof": {"min_size": 128, "max_size": 192},
    "yolox": {"min_size": 64, "max_size": 96},
}
"""Options under which every detector runs on images of about 64 px."""

ROIS = {"pyramid_width": 16, "rois_per_image": 16}
NARROW = {
    name: options | (ROIS if name.endswith("rcnn") else {}) for name, options in SMALL.items()
}
"""The same with narrow heads on few proposals, where nothing has to be learnt."""


def backbone(**options):
    """A SELNeXt of 0.2 M parameters with maps at strides 4, 8, 16 and 32."""
    return create_backbone("selnext_atto", stem_stride=4, depths=(1, 1, 1, 1), **options)


def target(height, width, *boxes):
    """Boxes as (x1, y1, x2, y2, label), and masks that fill them."""
    masks = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2, _) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    table = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5)
    return {"boxes": table[:, :4], "labels": table[:, 4].long(), "masks": masks}


def pictures():
    """Two images of different size: a red and a green rectangle on grey; a blue one."""
    first, second = torch.full((3, 64, 96), 0.3), torch.full((3, 72, 64), 0.3)
    first[0, 10:40, 8:30] = 1
    first[1, 20:60, 50:90] = 1
    second[2, 16:56, 12:48] = 1
    targets = [
        target(64, 96, (8, 10, 30, 40, 1), (50, 20, 90, 60, 2)),
        target(72, 64, (12, 16, 48, 56, 3)),
    ]
    return [first, second], targets


@pytest.fixture
def tiny():
    """Return the functions above; a test directory cannot be imported from."""
    return SimpleNamespace(
        backbone=backbone, target=target, pictures=pictures, options=SMALL, narrow=NARROW
    )
