from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.ssdlite import _mobilenet_extractor

from convgate.errors import InputError
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector
from convgate.tasks.detect.ssdlite320 import ExtraMaps


def test_extra_maps_are_those_of_torchvision():
    """On the last map of MobileNetV3, whose width (960) its own extractor has too."""
    torch.manual_seed(0)
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    theirs = _mobilenet_extractor(mobilenet_v3_large(weights=None), 6, norm).eval()
    ours = ExtraMaps(create_backbone("mobilenetv3_large_100").last(2)).eval()
    ours.extra.load_state_dict(theirs.extra.state_dict())
    y = expected = torch.rand(1, 960, 10, 10)
    for block, block_0 in zip(ours.extra, theirs.extra, strict=True):
        y, expected = block(y), block_0(expected)
        torch.testing.assert_close(y, expected)


def test_defaults_are_those_of_torchvision():
    with torch.device("meta"):
        theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
        ours = create_detector("ssdlite320", create_backbone("mobilenext"), num_classes=3)
    assert ours.anchor_generator.scales == theirs.anchor_generator.scales
    assert ours.anchor_generator.aspect_ratios == theirs.anchor_generator.aspect_ratios
    assert ours.transform.fixed_size == theirs.transform.fixed_size
    for option in ("score_thresh", "nms_thresh", "detections_per_img", "topk_candidates"):
        assert getattr(ours, option) == getattr(theirs, option)


def test_parameters_by_hand():
    """MobileNeXt, 20 classes: per map C, 9C + 2C for each depthwise part and 6 boxes of 21 + 4."""
    with torch.device("meta"):
        model = create_detector("ssdlite320", create_backbone("mobilenext"), num_classes=20)
    maps = [384, 1280, 512, 256, 256, 128]
    heads = sum(2 * (9 * c + 2 * c) + 6 * (21 + 4) * (c + 1) for c in maps)
    extra = sum(
        c * (d // 2) + 9 * (d // 2) + (d // 2) * d + 2 * (d // 2 + d // 2 + d)
        for c, d in pairwise(maps[1:])
    )
    body = 3_535_416 - 1281 * 1000
    assert sum(p.numel() for p in model.parameters()) == body + heads + extra


def test_one_image_cannot_train_its_last_norm(tiny):
    images, targets = tiny.pictures()
    model = create_detector("ssdlite320", tiny.backbone(), num_classes=3, image_px=64)
    with pytest.raises(InputError, match="use a batch of 2 or more"):
        model.train()(images[:1], targets[:1])
    assert len(model.eval()(images[:1])) == 1


def test_maps_halve():
    maps = ExtraMaps(create_backbone("selnext_atto", stem_stride=4).last(2)).eval()
    sizes = [tuple(y.shape[1:]) for y in maps(torch.rand(1, 3, 320, 320)).values()]
    assert sizes[:3] == [(64, 20, 20), (128, 10, 10), (512, 5, 5)]
    assert sizes[3:] == [(256, 3, 3), (256, 2, 2), (128, 1, 1)]
